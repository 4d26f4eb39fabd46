"""Steering vectors, and what of them acts on which model."""

from typing import Annotated, Literal

from pydantic import Field

from engine.contract.schemas.base import (
    MOST_SEQUENCES,
    Float32,
    Identifier,
    Index,
    Position,
    Request,
    Response,
    Text,
    TokenIds,
)
from engine.contract.schemas.tokens import SPECIAL_TOKENS

MOST_LAYERS = 4096

Method = Literal["mean_difference", "pca", "pca_center"]
SteeringOperation = Literal["addition", "ablation"]
SteeredPositions = Literal["all", "prompt", "generated"]
SteeringScope = Literal["server", "session"]
OF_POSITIONS = (
    "all; prompt; or generated: from the last token of the prompt on, so that every generated "
    "token is chosen by a steered pass."
)


class ContrastPair(Request):
    """Two texts that differ in what is to be steered."""

    positive: Text | TokenIds = Field(description="Text, or token ids: steer towards this.")
    negative: Text | TokenIds = Field(description="Text, or token ids: and away from this.")


class SteeringVectorRequest(Request):
    pairs: list[ContrastPair] = Field(min_length=1, max_length=MOST_SEQUENCES)
    name: Identifier | None = Field(None, description="Default: a new one.")
    model: str | None = None
    method: Method = Field(
        "mean_difference",
        description="mean_difference: the mean of the differences, as long as it is. pca: their "
        "first principal component, of length 1. pca_center: that of the distances from the middle "
        "of each pair.",
    )
    layers: Annotated[list[Index], Field(min_length=1, max_length=MOST_LAYERS)] | None = Field(
        None, description="Whose residual streams to compare, from 0. Default: all."
    )
    position: Position | Literal["mean"] = Field(
        -1,
        description="The token of each text whose stream is read, from 0; a negative one counts "
        "from the end. Or mean: of all tokens.",
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)


class ImportSteeringVectorRequest(Request):
    data_base64: str = Field(
        min_length=1,
        description="A file: safetensors with tensors `direction.{layer}`, or a control vector of "
        "llama.cpp or repeng in GGUF.",
    )
    name: Identifier | None = Field(None, description="Default: a new one.")


class SteeringDirection(Response):
    layer: int = Field(description="From 0: the direction is of the stream after this layer.")
    norm: float = Field(description="Its Euclidean length.")


class SteeringVectorEntry(Response):
    vector: str = Field(description="The name by which it is registered, read and deleted.")
    width: int = Field(description="The numbers of a direction: the model's hidden size.")
    directions: list[SteeringDirection]
    architecture: str | None = Field(
        description="mlx-lm's `model_type` of the model that it was found on; null if not known."
    )
    about: dict[str, str] = Field(description="How it was found, as its file says too.")


class SteeringVectorList(Response):
    vectors: list[SteeringVectorEntry]


class SteeringVectorFile(Response):
    vector: str
    format: Literal["safetensors", "gguf"]
    data_base64: str


class DeletedSteeringVector(Response):
    vector: str


class LayerStrength(Request):
    layer: Index
    strength: Float32


class RegisterSteeringRequest(Request):
    vector: Identifier
    model: str | None = None
    steering_id: Identifier | None = Field(None, description="Default: a new one.")
    operation: SteeringOperation = Field(
        "addition",
        description="addition: each direction times its strength is added to the residual stream "
        "after its layer. ablation: one direction is projected out of the stream at every layer, "
        "after attention and after MLP.",
    )
    strength: Float32 | None = Field(
        None, description="Of an addition, at all layers of the vector. Default: 1."
    )
    strengths: (
        Annotated[list[LayerStrength], Field(min_length=1, max_length=MOST_LAYERS)] | None
    ) = Field(None, description="Of an addition, in place of `strength`: by layer, these alone.")
    of_layer: Index | None = Field(
        None, description="Of an ablation: the layer whose direction is taken out everywhere."
    )
    positions: SteeredPositions = Field("all", description=OF_POSITIONS)
    scope: SteeringScope = Field(
        "server",
        description="server: every request for the model is steered, whosever it is. session: only "
        "those with this request's header X-Session-Id.",
    )


class SteeringStrength(Response):
    layer: int
    strength: float


class SteeringEntry(Response):
    """What steers a model."""

    steering_id: str
    vector: str
    model: str
    operation: SteeringOperation
    layers: list[SteeringStrength] = Field(description="Of an addition; of an ablation empty.")
    of_layer: int | None = Field(description="Of an ablation.")
    positions: SteeredPositions = Field(description=OF_POSITIONS)
    scope: SteeringScope


class SteeringList(Response):
    steering: list[SteeringEntry]


class RemovedSteering(Response):
    removed_steering: list[str]


class Steered(Response):
    """A reply of a model that may be steered."""

    steering: list[SteeringEntry] = Field(
        default_factory=list,
        description="What was added to or taken out of the residual stream of this reply. Absent "
        "or empty if nothing was; a warning names what is registered and did not act.",
    )
