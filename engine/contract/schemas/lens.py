"""What each layer would predict."""

from pydantic import Field

from engine.contract.schemas.base import LensTokens, Request, Response, Text, TokenIds, Warned
from engine.contract.schemas.forward import TopToken
from engine.contract.schemas.tokens import SPECIAL_TOKENS


class LogitLensRequest(Request):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    top_k: LensTokens = Field(5, description="How many tokens to list at each place.")


class LensLayer(Response):
    layer: int
    top: list[list[TopToken]] = Field(description="For each position, its likeliest next tokens.")


class LogitLens(Warned):
    tokens: list[int]
    texts: list[str]
    layers: list[LensLayer]
