"""What to capture and change, and what was captured."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

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
    Indices,
    LayerName,
    Name,
    Request,
    Response,
    one_of,
    require_one,
)

NOWHERE: JsonDict = {
    "properties": {"layer_name": {"type": "null"}, "feature_set": {"type": "null"}},
}
"""JSON schema: neither of the fields that say where is given."""


def _require_place(spec: "HookSpec | InterventionSpec") -> None:
    """What `NOWHERE` excludes, as validation."""
    if spec.layer_name is None and spec.feature_set is None:
        raise ValueError("give layer_name or feature_set")


class HookSpec(Request):
    """What to capture, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    {
                        "properties": {
                            "capture_input": {"enum": [False, None]},
                            "capture_output": {"const": False},
                        },
                        "required": ["capture_output"],
                    },
                    NOWHERE,
                ]
            }
        }
    )

    layer_name: LayerName | None = Field(
        None,
        description="`5`, `model.layers.5`, `transformer.h.5`, `blocks.5`, `*`, `0-11`, "
        "`transformer.wte`, …; or a name that says the component too: `blocks.5.hook_resid_pre`, "
        "`blocks.*.attn.hook_z`, `model.layers.5.mlp.down_proj`, `ln_final.hook_out`, …",
        examples=["0", "*", "0-1"],
    )
    feature_set: Name | None = Field(
        None,
        description="In place of a component: capture the features of this set's value. Then "
        "`layer_name` is needed by none, and chooses one layer of a cross-layer transcoder.",
    )
    features: Indices | None = Field(
        None, description="Only these features of the set. Default: all."
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
        _require_place(self)
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

    model_config = ConfigDict(json_schema_extra={"not": NOWHERE})

    layer_name: LayerName | None = None
    component: ComponentName | None = Field(
        None, description="May be left out where the layer name says it."
    )
    feature_set: Name | None = Field(
        None,
        description="In place of a component: change features of this set, and add the difference, "
        "decoded, to what it writes; what it does not reconstruct stays.",
    )
    features: Indices | None = Field(None, description="Those of the set that are changed.")
    operation: Literal[
        "ablation",
        "mean",
        "scaling",
        "addition",
        "replacement",
        "patching",
        "projection",
        "noise",
        "splicing",
    ] = Field(
        description="ablation: zero. mean: the mean over positions. scaling: times `factor`. "
        "addition, replacement: `value`, of features one number or one each; adding to a feature "
        "steers by its decoder's direction. patching: a kept capture. projection: without the "
        "component along `value`, a direction of any length; not of features. noise: Gaussian of "
        "standard deviation `scale`, from `seed`. splicing: of a feature set, its reconstruction, "
        "without `features`."
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

    @model_validator(mode="after")
    def _is_somewhere(self) -> "InterventionSpec":
        _require_place(self)
        return self


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
    feature_set: str | None = Field(
        None,
        description="Of features: their set. The shape is that of all of them, and what follows "
        "has those that are not 0.",
    )
    indices: Any | None = Field(
        None, description="With format `array`: for each sequence and position, which features."
    )
    values: Any | None = Field(
        None, description="With format `array`: for each sequence and position, their values."
    )
    indices_base64: str | None = Field(
        None, description="With format `base64`, int32: those of all positions, one after another."
    )
    values_base64: str | None = Field(None, description="With format `base64`, float32.")
    offsets_base64: str | None = Field(
        None,
        description="With format `base64`, int32: where in them each position begins, and the end. "
        "In a safetensors body the three are `tensor` and `/indices`, `/values`, `/offsets`.",
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
