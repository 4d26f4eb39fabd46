"""How much each part of a model matters to a task."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import Index, Position, Request, Response, Text, TokenId, TokenIds


class CircuitPatchRequest(Request):
    """Two prompts of equal length in tokens, and what to change in the run of one of them."""

    clean: Text | TokenIds = Field(description="The prompt that has the answer: text or token ids.")
    corrupted: Text | TokenIds = Field(description="The same with the answer taken away.")
    answer: Text | TokenId = Field(
        description="A token, by its text or its id; the score is its logit minus that of "
        "`distractor`, at the last position."
    )
    distractor: Text | TokenId = Field(description="A token, by its text or its id.")
    component: Literal["residual", "attention", "mlp", "head_output"] = "head_output"
    method: Literal["activation_patching", "attribution_patching", "ablation"] = Field(
        "activation_patching",
        description="activation_patching: the activation of the other prompt. "
        "attribution_patching: its effect to first order, in few passes. ablation: zero.",
    )
    direction: Literal["denoising", "noising"] = Field(
        "denoising",
        description="denoising: the corrupted prompt's run is changed, and the effect is the share "
        "of the difference between the scores that is restored. noising: the clean one's, and the "
        "share that is lost.",
    )
    layers: list[Index] | None = Field(None, min_length=1, description="Default: all.")
    positions: Literal["all", "each"] | Annotated[list[Position], Field(min_length=1)] = Field(
        "all",
        description="Which are changed together: all, or those of a list; or each by itself.",
    )
    model: str | None = None


class Tensor(Response):
    """Numbers by themselves, row-major."""

    shape: list[int]
    dtype: Literal["float32"] = "float32"
    byte_order: Literal["little"] = "little"
    data: Any = Field(description="Nested lists.")


class CircuitEffects(Response):
    clean_score: float
    corrupted_score: float
    layers: list[int] = Field(description="What the first axis of `effects` counts.")
    heads: list[int] | None = Field(description="What its second axis counts, with head_output.")
    positions: list[list[int]] = Field(description="The groups of positions changed together.")
    effects: Tensor = Field(
        description="layers x heads, or layers x groups of positions; with heads and each position "
        "by itself, layers x heads x positions. 0 is no effect and 1 the whole one."
    )
