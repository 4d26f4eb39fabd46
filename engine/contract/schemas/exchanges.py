"""A forward pass that stops for somebody else to change it."""

from typing import Literal

from pydantic import Field

from engine.components import ComponentType
from engine.contract.schemas.activations import ActivationRecord, TensorValue
from engine.contract.schemas.base import MOST_HOOKS, Head, Position, Request, Response
from engine.contract.schemas.forward import Forward, ForwardRequest


class StopSpec(Request):
    """A hook point at which a forward pass stops and shows its value; all of it, or a part."""

    layer_name: str = Field(min_length=1, description="As in a hook; a wildcard stops at each.")
    component: ComponentType
    hook_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="By which the client knows the stop. Default: `layer_5_residual`, …",
    )
    heads: list[Head] | None = Field(None, min_length=1)
    positions: list[Position] | None = Field(None, min_length=1)


class ExchangeRequest(ForwardRequest):
    """A forward pass that stops. At one hook point, stops come after declared interventions."""

    stops: list[StopSpec] = Field(min_length=1, max_length=MOST_HOOKS)
    stop_format: Literal["array", "base64"] = Field(
        "base64", description="The form of the values at the stops."
    )


class GoOnRequest(Request):
    value: TensorValue | None = Field(
        None, description="What the pass goes on with, of the stop's shape. Default: the value."
    )


class ExchangeState(Response):
    exchange_id: str
    state: Literal["stopped", "done"]
    stop: ActivationRecord | None = Field(
        None, description="If stopped: the value at the stop, in float32."
    )
    result: Forward | None = Field(None, description="If done: the forward pass.")


class CancelledExchange(Response):
    exchange_id: str
