"""Texts as vectors, as OpenAI has them, from any layer."""

from typing import Literal

from pydantic import Field

from engine.contract.schemas.base import (
    Batch,
    Index,
    Request,
    Response,
    Text,
    Texts,
    TokenIds,
    Warned,
)
from engine.contract.schemas.openai import UNUSED
from engine.contract.schemas.tokens import SPECIAL_TOKENS


class EmbeddingsRequest(Request):
    input: Text | TokenIds | Texts | Batch = Field(
        description="Text, or token ids; or a list of either, each with a vector of its own."
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    layer: Index | None = Field(
        None,
        description="The residual stream after this layer. Default: what the final norm returns.",
    )
    pooling: Literal["mean", "last"] = Field(
        "mean", description="Over all positions; or the last one, which has seen the whole text."
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32."
    )
    dimensions: Index | None = Field(
        None, description="Only the model's own width: its vectors cannot be shortened."
    )
    user: str | None = Field(None, description=UNUSED)


class Embedding(Response):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Response):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Warned):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    layer: int | None = Field(description="Null: the final norm.")
    pooling: Literal["mean", "last"]
