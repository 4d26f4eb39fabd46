"""What steers a request, and what its reply says of it."""

from collections.abc import Iterable
from typing import Any

from engine.contract import schemas as s
from engine.server.http.requests import session
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.server.state.steering import Registered, Steered


def steered(service: Service, model: LoadedModel) -> Steered:
    """What steers this request for a model."""
    return service.steering.steered(model, session())


def entries(registered: Iterable[Registered]) -> list[s.SteeringEntry]:
    """What is registered, in the contract's words."""
    return [
        s.SteeringEntry(
            steering_id=each.steering_id,
            vector=each.vector_name,
            model=each.model_id,
            operation=each.steering.operation,
            layers=[
                s.SteeringStrength(layer=layer, strength=strength)
                for layer, strength in each.steering.strengths.items()
            ],
            of_layer=each.steering.of_layer,
            positions=each.steering.positions,
            scope="server" if each.session is None else "session",
        )
        for each in registered
    ]


def told(acting: Steered) -> dict[str, Any]:
    """The field of a steered reply; none if nothing acted."""
    found = [entry.model_dump() for entry in entries(acting.acts)]
    return {"steering": found} if found else {}


def not_steered(service: Service, model: LoadedModel, of_session: str | None) -> list[str]:
    """Notes for a session's reply that nothing steers: on what is registered for its model."""
    return [
        f"the steering {each.steering_id!r} does not act here: it acts on completions, chats, "
        "responses and forward passes"
        for each in service.steering.registered(of_session, model.id)
    ]
