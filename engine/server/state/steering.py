"""The steering vectors that are kept, and what of them acts on which model for whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from engine.errors import EngineError
from engine.interventions.intervention import Intervention
from engine.server.errors import DuplicateSteeringError, LimitError, UnknownSteeringError
from engine.server.identifiers import new_id
from engine.server.state.models import LoadedModel
from engine.steering.acting import Steering
from engine.steering.vector import SteeringVector

MOST_VECTORS = 1024
MOST_REGISTERED = 1024


@dataclass(frozen=True)
class Registered:
    """A steering that acts on a model's requests: on all (`session` None), or on a session's."""

    steering_id: str
    vector_name: str
    model_id: str
    steering: Steering
    session: str | None

    def is_seen_by(self, session: str | None) -> bool:
        """Whether it acts on the requests of a session."""
        return self.session is None or self.session == session


@dataclass(frozen=True)
class Steered:
    """What steers one request: what `acts`, and notes on what is registered and does not."""

    acts: tuple[Registered, ...]
    notes: tuple[str, ...]

    def interventions(self, model: LoadedModel, following: int) -> tuple[Intervention, ...]:
        """The changes of a run with so many passes after its prompt."""
        structure = model.kit.structure
        return tuple(
            change
            for each in self.acts
            for change in each.steering.interventions(structure, following)
        )


class SteeringStore:
    """Vectors by name, and what is registered, by id: in the order in which it acts."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._vectors: dict[str, SteeringVector] = {}
        self._registered: dict[str, Registered] = {}
        self._lock = Lock()

    # --- vectors ---

    def keep(self, vector: SteeringVector, name: str | None) -> str:
        """Keep a vector; returns its name. Raises DuplicateSteeringError, LimitError."""
        with self._lock:
            name = name or f"vector-{new_id()[:12]}"
            if name in self._vectors:
                raise DuplicateSteeringError(
                    f"name: there is a steering vector {name!r}; delete it first.", "name"
                )
            size = sum(4 * len(each.layers) * each.width for each in self._vectors.values())
            if len(self._vectors) >= MOST_VECTORS or size > self._budget:
                raise LimitError(
                    f"{len(self._vectors)} steering vectors of {size} bytes are kept, as many as "
                    "may be; delete one first."
                )
            self._vectors[name] = vector
        return name

    def check_new(self, name: str | None) -> None:
        """Raise DuplicateSteeringError, before a vector is computed, for a name that is taken."""
        if name in self._vectors:
            raise DuplicateSteeringError(
                f"name: there is a steering vector {name!r}; delete it first.", "name"
            )

    def vectors(self) -> dict[str, SteeringVector]:
        """All that are kept, by name."""
        with self._lock:
            return dict(self._vectors)

    def vector(self, name: str) -> SteeringVector:
        """Raises UnknownSteeringError, with what there is."""
        with self._lock:
            if name not in self._vectors:
                known = ", ".join(self._vectors) or "none"
                raise UnknownSteeringError(
                    f"No steering vector {name!r} is kept; kept: {known}.", "vector"
                )
            return self._vectors[name]

    def forget(self, name: str) -> None:
        """Forget a vector; what is registered of it goes on. Raises UnknownSteeringError."""
        self.vector(name)
        with self._lock:
            self._vectors.pop(name, None)

    # --- what is registered ---

    def register(self, registered: Registered) -> None:
        """Raises DuplicateSteeringError for an id that is taken, LimitError."""
        with self._lock:
            taken = self._registered.get(registered.steering_id)
            if taken is not None:
                raise DuplicateSteeringError(
                    f"steering_id: {registered.steering_id!r} is registered already, on "
                    f"{taken.model_id}; delete it first.",
                    "steering_id",
                )
            if len(self._registered) >= MOST_REGISTERED:
                raise LimitError(f"steering is registered {MOST_REGISTERED} times already.")
            self._registered[registered.steering_id] = registered

    def registered(self, session: str | None, model_id: str | None = None) -> Sequence[Registered]:
        """What a session sees: that of all models, or of one."""
        with self._lock:
            return [
                each
                for each in self._registered.values()
                if each.is_seen_by(session) and model_id in (None, each.model_id)
            ]

    def remove(self, steering_id: str, session: str | None) -> None:
        """Raises UnknownSteeringError for one that the session does not see."""
        seen = [each.steering_id for each in self.registered(session)]
        if steering_id not in seen:
            raise UnknownSteeringError(
                f"No steering {steering_id!r} is registered; registered: "
                f"{', '.join(seen) or 'none'}.",
                "steering_id",
            )
        with self._lock:
            self._registered.pop(steering_id, None)

    def steered(self, model: LoadedModel, session: str | None) -> Steered:
        """What acts on a session's requests for a model, and what of it cannot."""
        acts, notes = [], []
        for each in self.registered(session):
            try:
                if each.model_id != model.id:
                    raise EngineError(f"it is registered on {each.model_id}, not on {model.id}")
                each.steering.check(model.kit.structure)
                acts.append(each)
            except EngineError as reason:
                notes.append(f"the steering {each.steering_id!r} did not act: {reason}")
        return Steered(tuple(acts), tuple(notes))
