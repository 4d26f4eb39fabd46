"""Whether a circuit does on a model what its file says."""

from dataclasses import dataclass

from bridge.circuits.format import Model
from bridge.circuits.measuring import measure, model_of
from bridge.circuits.saved import SavedCircuit
from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import BridgeError

NOT_OF_THE_SHAPE = ("id", "quantization")


class CircuitShapeError(BridgeError):
    """A model that has another shape than the one that the circuit was found in."""


@dataclass(frozen=True)
class Row:
    """One number of the file, and what it is now.

    The numbers are shares of the difference between the clean and the corrupted score, but for
    that difference itself, which is in logits; `tolerance` is in their unit.
    """

    name: str
    saved: float
    now: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        return abs(self.now - self.saved) <= self.tolerance


@dataclass(frozen=True)
class Check:
    """What was measured of a circuit on a model: the difference between the scores, the circuit as
    a whole, then each component in the order of the file."""

    model: str
    rows: list[Row]

    @property
    def is_passed(self) -> bool:
        """Whether all rows are within their tolerances."""
        return all(row.is_within for row in self.rows)


def verify(
    circuit: SavedCircuit, client: LMStudioNeuroScopeClient, model: str | None = None
) -> Check:
    """Measure a circuit again on a model that the engine has loaded, or the one that it serves.

    Raises CircuitShapeError, NoModelError, and LMStudioError for what the engine refuses.
    """
    found = model_of(client, model)
    check_shape(circuit.model, found)
    now, saved, tolerances = measure(client, circuit, found.id), circuit.scores, circuit.tolerances
    difference = saved.clean - saved.corrupted
    rows = [
        Row(
            "logit difference",
            difference,
            now.scores.clean - now.scores.corrupted,
            abs(difference) * tolerances.difference,
        ),
        Row("circuit", saved.circuit, now.scores.circuit, tolerances.circuit),
    ]
    components = zip(circuit.components, now.components, strict=True)
    rows += [Row(each.name, each.score, score, tolerances.component) for each, score in components]
    return Check(found.id, rows)


def check_shape(saved: Model, found: Model) -> None:
    """Raise CircuitShapeError, with each difference, unless two models have one shape."""
    pairs = {
        name: (getattr(found, name), getattr(saved, name))
        for name in Model.model_fields
        if name not in NOT_OF_THE_SHAPE
    }
    if other := [f"{name} {now}, not {then}" for name, (now, then) in pairs.items() if now != then]:
        raise CircuitShapeError(
            f"{found.id} has another shape than {saved.id}, in which the circuit was found: "
            + "; ".join(other)
        )
