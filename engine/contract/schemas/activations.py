"""What to capture and change, and what was captured."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.components import ComponentType
from engine.contract.schemas.base import (
    MOST_AXES,
    MOST_HOOKS,
    ComponentName,
    Count,
    Dtype,
    Float32,
    Heads,
    HookPositions,
    Index,
    LayerName,
    Name,
    Request,
    Response,
    one_of,
    require_one,
)


class HookSpec(Request):
    """What to capture, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "properties": {
                    "capture_input": {"enum": [False, None]},
                    "capture_output": {"const": False},
                },
                "required": ["capture_output"],
            }
        }
    )

    layer_name: LayerName = Field(
        description="`5`, `model.layers.5`, `transformer.h.5`, `blocks.5`, `*`, `0-11`, "
        "`transformer.wte`, …; or a name that says the component too: `blocks.5.hook_resid_pre`, "
        "`blocks.*.attn.hook_z`, `model.layers.5.mlp.down_proj`, `ln_final.hook_out`, …",
        examples=["0", "*", "0-1"],
    )
    component: ComponentName | None = Field(
        None, description="May be left out where the layer name says it."
    )
    hook_id: Name | None = Field(
        None,
        description="Default: `layer_5_residual`, `embedding_output`.",
    )
    capture_input: bool = Field(
        False, description="Capture what goes into the component, or the module named."
    )
    capture_output: bool = Field(
        True,
        description="Capture what comes out of it. A name of an input, `hook_resid_pre`, needs "
        "neither field.",
    )
    positions: HookPositions | None = Field(
        None,
        description="0-based positions in the whole sequence; negative ones count from the end "
        "of the prompt. Or `prompt`, or `generated`: however many tokens come. Default: all.",
    )
    heads: Heads | None = Field(None, description="0-based heads. Default: all.")
    dtype: Dtype = "float32"
    exclude_special_tokens: bool = Field(
        False,
        description="Leave out the positions of tokens that are no text: those that mark a "
        "beginning, an end or a turn of a chat.",
    )

    @model_validator(mode="after")
    def _captures(self) -> "HookSpec":
        if not (self.capture_input or self.capture_output):
            raise ValueError("a hook captures its input, its output, or both")
        return self


class TensorValue(Request):
    """A tensor sent to the engine: its shape beside its data, row-major, little-endian."""

    model_config = ConfigDict(json_schema_extra=one_of("data", "data_base64"))

    shape: list[Count] = Field(
        max_length=MOST_AXES, description="The length of each axis, at least 1."
    )
    dtype: Dtype = "float32"
    data: Any | None = Field(None, description="Nested lists, or a flat list, of numbers.")
    data_base64: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TensorValue":
        require_one(self, "data", "data_base64")
        return self


class InterventionSpec(Request):
    """A change made to an activation while the model runs."""

    layer_name: LayerName
    component: ComponentName | None = Field(
        None, description="May be left out where the layer name says it."
    )
    operation: Literal[
        "ablation", "mean", "scaling", "addition", "replacement", "patching", "projection", "noise"
    ] = Field(
        description="ablation: zero. mean: the mean over positions. scaling: times `factor`. "
        "addition, replacement: `value`. patching: a kept capture. projection: without the "
        "component along `value`, a direction of any length. noise: Gaussian of standard "
        "deviation `scale`, from `seed`."
    )
    heads: Heads | None = None
    positions: HookPositions | None = Field(
        None,
        description="As in a hook. Of the `generated`, and in a completion of all, one value is "
        "for each pass, as for one position.",
    )
    factor: Float32 | None = None
    value: TensorValue | None = None
    capture_id: Name | None = None
    hook_id: Name | None = None
    step: Index = 0
    scale: Annotated[Float32, Field(ge=0)] | None = None
    seed: Index | None = None


class ActivationRecord(Response):
    """One activation of one forward pass."""

    hook_id: str
    layer_name: str
    layer: int | None = Field(description="0-based; null for embedding, final_norm and logits.")
    component: ComponentType
    field_name: str | None = Field(
        description="TransformerLens's name, `blocks.5.hook_resid_post`; null where it has none."
    )
    step: int = Field(description="0 is the whole prompt; step k the k-th generated token's pass.")
    positions: list[int] = Field(
        description="First and last position of this forward pass that the record covers."
    )
    position_list: list[int] | None = Field(
        description="All positions that the record covers, where they are not all from the first "
        "to the last; else null."
    )
    shape: list[int]
    dtype: str
    byte_order: Literal["little"] = "little"
    is_input: bool
    data: Any | None = Field(
        None, description="Nested lists, with format `array`; null is -inf, a masked score."
    )
    data_base64: str | None = Field(None, description="With format `base64`.")
    tensor: str | None = Field(
        None, description="Name in the safetensors body, with format `reference`."
    )


Activations = dict[str, list[ActivationRecord]]


class RegisterHooksRequest(Request):
    hooks: list[HookSpec] = Field(min_length=1, max_length=MOST_HOOKS)
    model: str | None = None


class RegisteredHooks(Response):
    registered_hooks: list[str]


class HookEntry(Response):
    hook_id: str
    model: str
    spec: HookSpec


class HookList(Response):
    hooks: list[HookEntry]


class RemovedHooks(Response):
    removed_hooks: list[str]


class CaptureSummary(Response):
    capture_id: str
    model: str
    created: float = Field(description="Unix time in seconds.")
    bytes: int = Field(description="Size of the captured data.")


class CaptureManifest(CaptureSummary):
    activations: Activations = Field(description="Records without data, with tensor names.")


class CaptureList(Response):
    captures: list[CaptureSummary]
    bytes: int
    budget_bytes: int


class ForgottenCapture(Response):
    capture_id: str
