"""Which tokens a neuron promotes."""

from pydantic import Field

from engine.contract.schemas.base import Index, LensTokens, Request, Response


class PromotedTokensRequest(Request):
    layer: Index = Field(description="The layer of the neuron.")
    neuron: Index = Field(description="Its index among the neurons, `mlp_hidden`, of the layer.")
    expert: Index | None = Field(
        None, description="Its expert, in a layer with a mixture of experts, and only there."
    )
    top_k: LensTokens = Field(10, description="How many tokens to list of each kind.")
    model: str | None = None


class TokenEffect(Response):
    id: int
    text: str
    logit: float = Field(
        description="What is added to the token's logit. By one unit of a neuron: its output "
        "weights times the final norm's weights times the unembedding, where the residual stream's "
        "root mean square is 1."
    )


class PromotedTokens(Response):
    layer: int
    neuron: int
    expert: int | None
    promoted: list[TokenEffect] = Field(description="Whose logits rise most, the most first.")
    suppressed: list[TokenEffect] = Field(description="Whose logits fall most, the most first.")
