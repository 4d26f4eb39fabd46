"""Live sessions: forward passes that pause at breakpoints, where a client may change a value."""

from typing import Literal

from pydantic import Field

from engine.contract.schemas.activations import ActivationRecord, TensorValue
from engine.contract.schemas.base import (
    MOST_HOOKS,
    ComponentName,
    Heads,
    HookPositions,
    LayerName,
    Name,
    No,
    Request,
    Response,
)
from engine.contract.schemas.forward import Forward, ForwardRequest
from engine.contract.schemas.generation import (
    CompletionWithActivations,
    CompletionWithActivationsRequest,
)


class BreakpointSpec(Request):
    """A hook point at which a forward pass pauses and shows its value; all of it, or a part."""

    layer_name: LayerName = Field(description="As in a hook; a wildcard pauses at each.")
    component: ComponentName | None = Field(
        None, description="May be left out where the layer name says it."
    )
    hook_id: Name | None = Field(
        None,
        description="By which the client knows the breakpoint. Default: `layer_5_residual`, …",
    )
    heads: Heads | None = None
    positions: HookPositions | None = Field(None, description="As in a hook.")


class WithBreakpoints(Request):
    """The breakpoints of a session. At one hook point they come after declared interventions."""

    breakpoints: list[BreakpointSpec] = Field(min_length=1, max_length=MOST_HOOKS)
    breakpoint_format: Literal["array", "base64"] = Field(
        "base64", description="The form of the values at the breakpoints."
    )


class ForwardSessionRequest(ForwardRequest, WithBreakpoints):
    pass


class CompletionSessionRequest(CompletionWithActivationsRequest, WithBreakpoints):
    """A completion each of whose forward passes pauses: the prompt but its last token, that token,
    then each token that another follows. A pass begins before it is known whether its token ends
    the text, so the blocks may see one pass more than an early end needs."""

    stream: No = Field(False, description="The reply is whole.")
    echo: No = Field(False, description="A session generates.")


class ContinueSessionRequest(Request):
    value: TensorValue | None = Field(
        None,
        description="What the pass goes on with, of the breakpoint's shape. Default: the value.",
    )


class SessionState(Response):
    session_id: str
    state: Literal["paused", "done"]
    breakpoint: ActivationRecord | None = Field(
        None, description="If paused: the value at the breakpoint, in float32."
    )
    result: Forward | CompletionWithActivations | None = Field(
        None, description="If done: what the forward pass or the completion returns."
    )


class KeptSession(Response):
    session_id: str
    seconds: float = Field(description="How long it waits from now on.")


class CancelledSession(Response):
    session_id: str
