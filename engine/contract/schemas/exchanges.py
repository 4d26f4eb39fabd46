"""Forward passes that stop for somebody else to change them."""

from typing import Literal

from pydantic import Field

from engine.components import ComponentType
from engine.contract.schemas.activations import ActivationRecord, TensorValue
from engine.contract.schemas.base import MOST_HOOKS, Head, Position, Request, Response
from engine.contract.schemas.forward import Forward, ForwardRequest
from engine.contract.schemas.generation import (
    CompletionWithActivations,
    CompletionWithActivationsRequest,
)


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


class Stopping(Request):
    """What a request adds to stop. At one hook point, stops come after declared interventions."""

    stops: list[StopSpec] = Field(min_length=1, max_length=MOST_HOOKS)
    stop_format: Literal["array", "base64"] = Field(
        "base64", description="The form of the values at the stops."
    )


class ExchangeRequest(ForwardRequest, Stopping):
    pass


class CompletionExchangeRequest(CompletionWithActivationsRequest, Stopping):
    """A completion each of whose forward passes stops: the prompt but its last token, that token,
    then each token that another follows. A pass begins before it is known whether its token ends
    the text, so the blocks may see one pass more than an early end needs."""

    stream: Literal[False] = Field(False, description="The answer is whole.")


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
    result: Forward | CompletionWithActivations | None = Field(
        None, description="If done: what the forward pass or the completion answers."
    )


class CancelledExchange(Response):
    exchange_id: str
