"""Models: what is loaded, loading, unloading."""

from typing import Literal

from pydantic import Field

from engine.components import ComponentType
from engine.contract.schemas.base import (
    LONGEST_PATH,
    CacheSize,
    Count,
    Dtype,
    Index,
    Name,
    Request,
    Response,
)
from engine.contract.schemas.steering import SteeringEntry


class Correction(Response):
    name: str
    reason: str = Field(description="What mlx-lm reads otherwise than the model's author wrote it.")


class Adapter(Response):
    name: str = Field(description="Its folder, without the path.")
    format: Literal["mlx-lm", "peft"]
    kind: Literal["lora", "dora", "full"]
    modules: list[str] = Field(description="The layers whose weights it changes.")
    rank: int | None = Field(description="Null of whole weights, or if layers differ.")
    scale: float | None = Field(
        description="What its product of factors is multiplied by; null of whole weights, or if "
        "layers differ."
    )


class ModelEntry(Response):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time, in seconds, at which the model was loaded.")
    owned_by: str
    loaded: bool
    architecture: str | None = Field(description="mlx-lm's `model_type`.")
    layers: int | None
    heads: int | None = Field(description="Attention heads a layer.")
    kv_heads: int | None = Field(description="Key and value heads a layer.")
    head_dim: int | None
    hidden_size: int | None
    vocab_size: int | None
    context_length: int | None = Field(
        description="Positions that a prompt and what is generated after it may have together: of "
        "a model that learned an embedding of each position, more are refused; of others, more "
        "run with a warning. Null if the configuration says nothing."
    )
    max_position_embeddings: int | None = Field(
        description="Positions that the model is made for; null if its configuration names none."
    )
    intermediate_size: int | None = Field(
        description="Width inside a layer's MLP; null if the configuration names none, or if the "
        "layers have experts in its place."
    )
    quantization: str | None = Field(description="For example `4-bit, group 32`; null if none.")
    corrections: list[Correction] = Field(
        description="What was corrected as the model was loaded, because mlx-lm does not read it."
    )
    adapter: Adapter | None = Field(description="What was merged into the weights; null if none.")
    warnings: list[str] = Field(description="What to know before its numbers are relied upon.")
    steering: list[SteeringEntry] = Field(
        default_factory=list,
        description="What steers it now: for all clients, or in the session that asks.",
    )
    components: list[ComponentType] = Field(description="What can be captured on this model.")
    absent_layers: dict[ComponentType, list[int]] = Field(
        description="The layers that lack a component that others have, by the component."
    )


class WeightEntry(Response):
    name: str = Field(description="As TransformerLens has it: `W_Q`, `b_Q`, `W_in`, …")
    layers: list[int] | None = Field(description="Where it is alike; null: the whole model's.")
    axes: list[str] = Field(description="What each axis counts: `head`, `d_model`, `d_head`, …")
    shape: list[int]
    modules: list[str] = Field(description="The linear layers that it is in, one for each layer.")
    notes: list[str] = Field(description="What the model does beside, such as a norm.")
    reason: str | None = Field(description="Why it is absent; null if it is there.")


class WeightList(Response):
    object: Literal["list"] = "list"
    model: str
    data: list[WeightEntry]


class ModelList(Response):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


class LoadModelRequest(Request):
    model_path: str = Field(
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="A model folder, a pulled model's name, or a hub id where allowed.",
    )
    adapter_path: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="An adapter's folder, of mlx-lm or PEFT, or a hub id where allowed: merged "
        "into the weights.",
    )
    model_id: Name | None = Field(
        None, description="The name to give it; default: the last part of the path."
    )
    max_kv_size: CacheSize | None = Field(None, description="Tokens kept in a rotating cache.")
    kv_bits: Literal[2, 3, 4, 6, 8] | None = Field(None, description="Quantise the cache.")
    kv_group_size: Literal[32, 64, 128] = Field(64)
    quantized_kv_start: Index = Field(0, description="Tokens before the cache is quantised.")
    context_length: Count | None = Field(
        None,
        description="Positions that a prompt and the text after it may have together: at most "
        "those that the model was made for, which is the default.",
    )
    prefill_step_size: Count | None = Field(
        None,
        description="Tokens of a prompt that one pass of a generation takes at most; "
        "default: 2048.",
    )
    dtype: Dtype | None = Field(
        None,
        description="Cast the weights, dequantising them. Default: as stored on a GPU; float32 "
        "where a CPU would have to run quantised weights.",
    )
    corrections: bool = Field(
        True,
        description="Correct what mlx-lm reads otherwise than its author wrote it. If false, "
        "the model computes what it does in mlx-lm.",
    )


class UnloadModelRequest(Request):
    model: str


class UnloadModelResponse(Response):
    unloaded: str
