"""Which tokens have the embeddings nearest to a token's."""

from pydantic import Field

from engine.contract.schemas.base import LensTokens, Request, Response, Text, TokenId


class NearestTokensRequest(Request):
    token: Text | TokenId = Field(
        description="The token, by its id or as text; text may be a token behind a space."
    )
    top_k: LensTokens = Field(10, description="How many tokens to list.")
    model: str | None = None


class NearToken(Response):
    id: int
    text: str
    cosine: float = Field(
        description="The cosine of the angle between its row of `W_E` and the token's."
    )


class NearestTokens(Response):
    id: int
    text: str
    nearest: list[NearToken] = Field(
        description="The other tokens of the largest cosines, the largest first."
    )
