"""What parts of a model do to logits by themselves."""

from typing import Annotated, Literal

from pydantic import Field

from engine.contract.schemas.base import (
    Index,
    LensTokens,
    Name,
    Position,
    Request,
    Response,
    Text,
    TokenId,
    TokenIds,
    Warned,
)
from engine.contract.schemas.neurons import TokenEffect
from engine.contract.schemas.tokens import SPECIAL_TOKENS

AttributedBy = Literal["layer", "component", "head", "neuron", "feature"]
HeadCircuitName = Literal["OV", "QK"]
MOST_READINGS = 64


class LogitAttributionRequest(Request):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    answer: Text | TokenId = Field(
        description="The token whose logit is taken apart: its id, or a text that is one token, if "
        "need be behind a space."
    )
    distractor: Text | TokenId | None = Field(
        None, description="A token whose logit is subtracted first."
    )
    position: Position = Field(
        -1, description="Where the logit is read, from 0; a negative one counts from the end."
    )
    by: AttributedBy = Field(
        "component",
        description="layer; component: attention and MLP of each; head: attention by head; neuron: "
        "MLPs by neuron. feature: what `feature_sets` write, by feature.",
    )
    feature_sets: list[Name] = Field(
        default_factory=list,
        max_length=1024,
        description="Of loaded sets that write residual streams, attention or MLP outputs: with by "
        "feature.",
    )
    top_k: LensTokens = Field(20, description="How many neurons or features to list.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None


class AttributionTerm(Response):
    part: Literal[
        "embedding",
        "layer",
        "attention",
        "mlp",
        "head",
        "neuron",
        "other_neurons",
        "attention_bias",
        "rest",
        "final_norm_bias",
        "unembedding_bias",
        "soft_cap",
        "feature",
        "other_features",
        "reconstruction_error",
    ] = Field(
        description="other_neurons: those of a layer that are not listed, and the bias behind "
        "them. rest: what a layer does beside attention and MLP. soft_cap: what a cap takes off. "
        "other_features: those of a set that are not listed, and its biases. reconstruction_error: "
        "what a set leaves."
    )
    layer: int | None
    index: int | None = Field(description="Of a head, a neuron or a feature, from 0.")
    value: float = Field(description="What it adds, the final norm's scale being what it is.")
    feature_set: str | None = Field(description="The set of a feature.")


class LogitAttribution(Warned):
    tokens: list[int]
    texts: list[str]
    position: int
    logit: float = Field(description="Of the answer, less that of the distractor.")
    sum: float = Field(description="Of all terms.")
    error: float = Field(description="The logit less the sum: rounding.")
    terms: list[AttributionTerm]


class HeadTokensRequest(Request):
    layer: Index
    head: Index
    circuit: HeadCircuitName = Field(
        description="OV: which tokens' logits a token raises when the head attends to it. QK: "
        "which tokens a token attends to, without rotation and scale."
    )
    tokens: Annotated[list[Text | TokenId], Field(max_length=MOST_READINGS)] = Field(
        default_factory=list,
        description="Tokens to read the circuit for: ids, or texts that are one token, if need be "
        "behind a space.",
    )
    top_k: LensTokens = Field(10, description="How many tokens to list of each kind.")
    model: str | None = None


class HeadReading(Response):
    id: int
    text: str
    most: list[TokenEffect] = Field(description="OV: whose logits rise most. QK: attended to most.")
    least: list[TokenEffect]


class HeadTokens(Response):
    layer: int
    head: int
    circuit: HeadCircuitName
    score: float = Field(
        description="The sum of the circuit's eigenvalues over that of their sizes, from -1 to 1. "
        "Near 1 the head copies (OV), or attends to tokens like the one that attends (QK)."
    )
    most: list[TokenEffect] = Field(
        description="OV: the tokens that it copies most. QK: those that attend most to themselves."
    )
    least: list[TokenEffect]
    readings: list[HeadReading] = Field(description="One for each of the tokens asked for.")
    notes: list[str] = Field(description="What the model does beside, such as a norm of queries.")
