"""Gradients of a number of the user's choosing, at hook points and by token."""

from typing import Annotated, Literal

from pydantic import Field

from engine.contract.schemas.activations import Activations, HookSpec
from engine.contract.schemas.base import (
    MOST_HOOKS,
    MOST_SEQUENCES,
    PROGRESS,
    ActivationFormat,
    Positions,
    Request,
    Response,
    Text,
    TokenId,
    TokenIds,
    Warned,
    Whole,
)
from engine.contract.schemas.tokens import SPECIAL_TOKENS

IntegrationSteps = Annotated[int, Field(ge=1, le=4096), Whole]
TargetTokens = Annotated[
    list[Text | TokenId], Field(min_length=1, max_length=MOST_SEQUENCES, fail_fast=True)
]


class GradientTarget(Request):
    """A number of the logits at some positions: the mean over these positions."""

    kind: Literal["logit", "logit_difference", "log_probability", "probability", "loss"] = Field(
        "logit",
        description="logit: the mean of the logits of `tokens`. logit_difference: that, less the "
        "mean of the logits of `against`. log_probability: the natural logarithm of the "
        "probability of any of `tokens`. probability: that probability, less that of `against`. "
        "loss: the cross entropy, in nats, of the prompt's own next tokens, or of as many `tokens` "
        "as `positions`.",
    )
    tokens: TargetTokens | None = Field(
        None,
        description="By id, or by text that is one token, if need be behind a space. Needed by all "
        "kinds but the loss.",
    )
    against: TargetTokens | None = Field(
        None, description="For a logit difference, and for a probability if it is one."
    )
    positions: Positions | None = Field(
        None,
        description="Whose logits count. Default: the last one; for the loss of the prompt's own "
        "tokens, all that have a next one.",
    )


class IntegratedGradients(Request):
    """Gradients integrated from a baseline to the prompt's embeddings."""

    steps: IntegrationSteps = Field(
        32, description="Parts of the line; the gradient is taken in the middle of each."
    )
    baseline: Literal["zero", "token", "prompt"] = Field(
        "zero",
        description="zero: embeddings of zeros, between which and any other the norms of most "
        "models jump, so that many steps are needed. token: that of `token` at each position. "
        "prompt: those of `prompt`.",
    )
    token: Text | TokenId | None = Field(None, description="For the baseline of that name.")
    prompt: Text | TokenIds | None = Field(
        None, description="For the baseline of that name; of as many tokens."
    )


class GradientsRequest(Request):
    """A prompt, a target, and the values by which it is differentiated."""

    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    target: GradientTarget
    hooks: list[HookSpec] = Field(
        default_factory=list,
        max_length=MOST_HOOKS,
        description="Where gradients are wanted: as of what would be captured, with the same axes. "
        "`embedding` is the input of the first block.",
    )
    integrated: IntegratedGradients | None = Field(
        None, description="Integrated gradients by token too. Default: none."
    )
    activation_format: ActivationFormat = Field("base64", description="Of the gradients.")
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    stream: bool = Field(False, description=PROGRESS)


class TokenSaliency(Response):
    """How much each token matters, one number a token."""

    gradient_x_input: list[float] = Field(
        description="The embedding times the gradient there, summed over the width: the part of "
        "the target that is lost, to first order, with the embedding set to zero."
    )
    norm: list[float] = Field(description="The Euclidean norm of the gradient at the embedding.")


class IntegratedAttributions(Response):
    """Integrated gradients by token, in units of the target (Sundararajan et al. 2017)."""

    attributions: list[float]
    baseline_score: float
    delta: float = Field(
        description="Completeness: the sum of the attributions less (score - baseline_score). It "
        "is 0 where the steps suffice."
    )
    steps: int


class Gradients(Warned):
    """Gradients are per unit of activation, in units of the target."""

    tokens: list[int]
    texts: list[str]
    score: float = Field(description="The target over the prompt.")
    capture_id: str = Field(
        description="The gradients are kept as a capture is, to be read as safetensors."
    )
    gradients: Activations = Field(description="By the hooks' ids, in the shapes of the values.")
    saliency: TokenSaliency
    integrated: IntegratedAttributions | None
    forward_passes: int = Field(description="Whole passes over the prompt that it took.")
    backward_passes: int
