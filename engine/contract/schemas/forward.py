"""One forward pass, nothing sampled."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.activations import ActivationRecord
from engine.contract.schemas.base import (
    Batch,
    Likeliest,
    Response,
    Text,
    TokenIds,
    Warned,
    one_of,
    require_one,
)
from engine.contract.schemas.generation import Captured, Capturing
from engine.contract.schemas.steering import Steered
from engine.contract.schemas.tokens import SPECIAL_TOKENS


class ForwardRequest(Capturing):
    model_config = ConfigDict(json_schema_extra=one_of("prompt", "tokens"))

    prompt: Text | TokenIds | Batch | None = Field(
        None, description="Text, token ids, or a batch of sequences of equal length."
    )
    tokens: TokenIds | Batch | None = Field(None, description="Token ids, in place of `prompt`.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    logits: Literal["last", "all", "none"] = Field(
        "last", description="Positions whose logits are returned."
    )
    top_k: Likeliest = Field(10, description="How many next tokens to list.")

    @model_validator(mode="after")
    def _one_of(self) -> "ForwardRequest":
        require_one(self, "prompt", "tokens")
        return self


class TopToken(Response):
    id: int
    text: str
    logit: float
    probability: float


class Forward(Captured, Steered, Warned):
    tokens: list[list[int]]
    texts: list[list[str]]
    logits: ActivationRecord | None
    top: list[list[TopToken]] = Field(description="For each sequence, the likeliest next tokens.")
