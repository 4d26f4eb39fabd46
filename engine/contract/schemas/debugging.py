"""Debug sessions: a forward pass in steps, stopped, looked at, changed, and run again."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from engine.components import ComponentType
from engine.contract.schemas.activations import InterventionSpec, TensorValue
from engine.contract.schemas.base import (
    MOST_HOOKS,
    ComponentName,
    Index,
    LayerName,
    LensTokens,
    Request,
    Response,
    Text,
    TokenIds,
    Warned,
    one_of,
    require_one,
)
from engine.contract.schemas.forward import TopToken
from engine.contract.schemas.tokens import SPECIAL_TOKENS


class DebugRequest(Request):
    """A forward pass to be run in steps, with the changes of `interventions` at each run."""

    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    interventions: list[InterventionSpec] = Field(default_factory=list, max_length=MOST_HOOKS)


class DebugStepRequest(Request):
    """How far to go on: to what comes next, or to a place that is ahead."""

    model_config = ConfigDict(json_schema_extra=one_of("to", "layer_name"))

    to: Literal["layer", "point", "end"] | None = Field(
        None,
        description="layer: to the residual stream that the layer returns. point: to the next "
        "value that the model calculates at a hook point. end: to the logits.",
    )
    layer_name: LayerName | None = Field(None, description="One layer, as in a hook.")
    component: ComponentName | None = Field(
        None, description="With `layer_name`, unless that says it."
    )

    @model_validator(mode="after")
    def _one_of(self) -> "DebugStepRequest":
        require_one(self, "to", "layer_name")
        return self


class DebugRestartRequest(Request):
    layer: Index = Field(description="The layer to run next.")


class DebugChangeRequest(Request):
    value: TensorValue | None = Field(
        None, description="In place of the value here, of its shape. Default: the model's own."
    )


class DebugForkRequest(Request):
    value: TensorValue | None = Field(
        None,
        description="With which the second continuation goes on here. Default: the first is the "
        "model's own pass, the second that with everything that was changed.",
    )
    top_k: LensTokens = Field(5, description="How many tokens to list of each distribution.")


class DebugPlace(Response):
    """A value that the model calculates: a component of a layer."""

    layer: int | None = Field(description="0-based; null for embedding and final_norm.")
    component: ComponentType
    is_input: bool
    field_name: str | None = Field(description="TransformerLens's name; null where it has none.")


class DebugState(Warned):
    session_id: str
    model: str
    tokens: list[int]
    texts: list[str]
    state: Literal["stopped", "done"]
    at: DebugPlace | None = Field(description="Where it is stopped; null at the end.")
    layer: int | None = Field(
        description="The layer that it is in, or that runs next; null behind the last."
    )
    shape: list[int] = Field(description="Of the value here; at the end of the last logits.")
    is_changed: bool = Field(description="Whether the value here was changed.")
    changes: list[DebugPlace] = Field(description="Whose values were changed, in their order.")
    top: list[TopToken] = Field(description="At the end: the likeliest next tokens.")
    bytes: int = Field(description="What is kept for this session.")
    seconds: float = Field(description="How long it is kept if nothing more is asked of it.")


class DebugLens(Response):
    """The likeliest next tokens, read from the residual stream as it is here."""

    session_id: str
    at: DebugPlace | None
    position: int
    top: list[TopToken]


class ForkedLayer(Response):
    layer: int
    distance: float = Field(
        description="The length of the difference of the residual streams that the layer returns, "
        "over that of the first, at all positions."
    )
    last_distance: float = Field(description="The same at the last position.")
    divergence: float = Field(
        description="Of what the logit lens reads at the last position from the second, from what "
        "it reads from the first: in nats."
    )
    top: list[TopToken] = Field(description="The likeliest token of each.")


class DebugFork(Response):
    """Two continuations of one pass, of which neither moves the session."""

    session_id: str
    divergence: float = Field(
        description="Kullback-Leibler, of the second's distribution from the first's, in nats."
    )
    top: list[list[TopToken]] = Field(description="The likeliest next tokens of each.")
    layers: list[ForkedLayer] = Field(description="From the first that may differ on.")


class EndedDebugSession(Response):
    session_id: str
