"""What each layer would predict."""

from typing import Literal

from pydantic import Field

from engine.contract.schemas.base import (
    LONGEST_PATH,
    LensTokens,
    Request,
    Response,
    Text,
    TokenIds,
    Warned,
)
from engine.contract.schemas.forward import TopToken
from engine.contract.schemas.tokens import SPECIAL_TOKENS


class LensFile(Request):
    """A lens that somebody trained, on the server's disk."""

    kind: Literal["tuned", "jacobian"] = Field(
        description="tuned: a folder with config.json and params.pt or params.safetensors, whose "
        "translator i reads the stream that enters layer i. jacobian: a .pt file with J by layer, "
        "or safetensors with J.0, J.1, …, each times the stream after its layer."
    )
    path: str = Field(
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="The folder or file, below a folder that the server allows.",
    )


class LogitLensRequest(Request):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    lens: LensFile | None = Field(
        None, description="What to make of each stream first. Default: nothing, the logit lens."
    )
    top_k: LensTokens = Field(5, description="How many tokens to list at each place.")


class LensLayer(Response):
    layer: int
    top: list[list[TopToken]] = Field(description="For each position, its likeliest next tokens.")


class LogitLens(Warned):
    kind: Literal["logit", "tuned", "jacobian"] = Field(
        description="Of a lens from a file, the layers are those that it reads, and the last."
    )
    tokens: list[int]
    texts: list[str]
    layers: list[LensLayer]
