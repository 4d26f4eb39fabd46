"""What each layer would predict."""

from pydantic import Field

from engine.contract.schemas.base import LensTokens, Request, Response, Text, TokenIds, Warned
from engine.contract.schemas.forward import TopToken


class LogitLensRequest(Request):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    model: str | None = None
    top_k: LensTokens = Field(5, description="How many tokens to list at each place.")


class LensLayer(Response):
    layer: int
    top: list[list[TopToken]] = Field(description="For each position, its likeliest next tokens.")


class LogitLens(Warned):
    tokens: list[int]
    texts: list[str]
    layers: list[LensLayer]
