"""What the components of a circuit do, measured by a running engine in one request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bridge import api_types as api
from bridge.circuits.format import Model, Scores, Tolerances
from bridge.circuits.saved import SavedCircuit
from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import BridgeError
from bridge.wire import from_record


class NoModelError(BridgeError):
    """The engine has loaded no model."""


@dataclass(frozen=True)
class Measurement:
    """The effect of each component by itself, and what `Scores` contains."""

    components: list[float]
    scores: Scores


def model_of(client: LMStudioNeuroScopeClient, name: str | None = None) -> Model:
    """The model of a name that the engine has loaded, or the one that it serves.

    Raises NoModelError, and LMStudioError for an unknown name.
    """
    name = name or client.health()["model"]
    if name is None:
        raise NoModelError(f"the engine at {client.base_url} has loaded no model")
    entry: Mapping[str, Any] = client.retrieve_model(name)
    return Model.model_validate({field: entry[field] for field in Model.model_fields})


def measure(client: LMStudioNeuroScopeClient, circuit: SavedCircuit, model: str) -> Measurement:
    """What a model does with each component changed by itself, and with all at once.

    Raises LMStudioError for what the engine refuses.
    """
    parts = [cast(api.CircuitPart, each.place) for each in circuit.components]
    method, ablation = circuit.method, circuit.method.ablation
    found = client.patch_circuit(
        examples=[cast(api.CircuitExample, each.given()) for each in circuit.examples],
        sets=[*([part] for part in parts), parts],
        method=method.name,
        direction=method.direction,
        ablation=None if ablation is None else cast(api.CircuitAblation, ablation.given()),
        pooling=circuit.metric.pooling,
        model=model,
    )
    *alone, together = from_record(found["effects"], {}).tolist()
    scores = Scores(
        clean=found["clean_score"], corrupted=found["corrupted_score"], circuit=together
    )
    return Measurement(alone, scores)


def measured_circuit(
    client: LMStudioNeuroScopeClient,
    name: str,
    components: Sequence[api.CircuitPart],
    examples: Sequence[api.CircuitExample],
    *,
    description: str = "",
    method: str = "activation_patching",
    direction: str = "denoising",
    ablation: api.CircuitAblation | None = None,
    pooling: str = "mean",
    tolerances: Tolerances | None = None,
    model: str | None = None,
) -> SavedCircuit:
    """A circuit of a model that the engine has loaded, measured now and ready to be saved.

    Scores are in logits, effects are shares of the difference between clean and corrupted score;
    `method`, `direction`, `ablation` and `pooling` are those of `POST /v1/circuits/patch`. Raises
    InvalidCircuitError, NoModelError, and LMStudioError for what the engine refuses.
    """
    where = model_of(client, model)
    unmeasured = SavedCircuit.of(
        {
            "format": "neuroscope-circuit",
            "format_version": 1,
            "name": name,
            "description": description,
            "model": where,
            "examples": [dict(each) for each in examples],
            "metric": {"name": "logit_difference", "pooling": pooling},
            "method": {"name": method, "direction": direction, "ablation": ablation},
            "components": [
                {"component": "head_output", "score": 0.0} | each for each in components
            ],
            "scores": {"clean": 0.0, "corrupted": 0.0, "circuit": 0.0},
            "tolerances": tolerances or Tolerances(),
        }
    )
    found = measure(client, unmeasured, where.id)
    scored = zip(unmeasured.components, found.components, strict=True)
    components_now = [each.model_copy(update={"score": score}) for each, score in scored]
    return unmeasured.model_copy(update={"components": components_now, "scores": found.scores})
