"""How much each part of a model matters to a behaviour."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.base import (
    MOST_SEQUENCES,
    PROGRESS,
    Head,
    Heads,
    Index,
    Indices,
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

MOST_PARTS = 65536
MOST_SUBSETS = 1024
Token = Text | TokenId
Tokens = Annotated[list[Token], Field(min_length=1, max_length=MOST_SEQUENCES, fail_fast=True)]
Prompt = Text | TokenIds
Samples = Annotated[int, Field(ge=1, le=MOST_SEQUENCES), Whole]
Subsets = Annotated[int, Field(ge=0, le=MOST_SUBSETS), Whole]
CircuitComponent = Literal[
    "residual",
    "attention",
    "mlp",
    "mlp_hidden",
    "head_output",
    "hook_resid_post",
    "hook_out",
    "hook_attn_out",
    "attn.hook_out",
    "hook_mlp_out",
    "mlp.hook_out",
    "mlp.hook_post",
    "attn.hook_z",
]
"""The components that have parts, and TransformerLens's names of them."""
ONE_EXAMPLE = ("clean", "corrupted", "answer", "distractor")


class CircuitExample(Request):
    """Two prompts of equal length in tokens, and the tokens whose logits are compared."""

    clean: Prompt = Field(description="The prompt that has the answer: text or token ids.")
    corrupted: Prompt = Field(description="The same with the answer taken away.")
    answers: Tokens = Field(
        description="Tokens, by id, or by text that is one token, if need be behind a space; the "
        "score of a pass is their logit minus that of the `distractors`, at the last position; of "
        "several, as `pooling` says."
    )
    distractors: Tokens = Field(description="Tokens, by text or id.")


class CircuitPart(Request):
    """A component of a layer, or one head or neuron of it, at some positions."""

    layer: Index
    component: CircuitComponent = "head_output"
    head: Head | None = Field(None, description="Default: all; for `head_output` alone.")
    neuron: Index | None = Field(None, description="Default: all; for `mlp_hidden` alone.")
    positions: Positions | None = Field(None, description="Default: all.")


class CircuitAblation(Request):
    """What the activation of an ablated part is set to."""

    kind: Literal["zero", "mean", "resample"] = Field(
        "zero",
        description="zero. mean: its mean over the reference prompts. resample: its activation "
        "over a reference prompt; the score is the mean over several of these.",
    )
    references: Annotated[list[Prompt], Field(min_length=1, max_length=MOST_SEQUENCES)] | None = (
        Field(
            None,
            description="Default: the prompts of the examples that are not changed. For means over "
            "prompts and for resampling, an example has those of as many tokens as it.",
        )
    )
    over: Literal["prompts", "positions"] = Field(
        "prompts",
        description="prompts: a mean for each position. positions: one over all positions of all "
        "reference prompts.",
    )
    samples: Samples | None = Field(
        None,
        description="How many references are drawn for each example, for resampling. "
        "Default: each once.",
    )
    seed: Index = Field(0, description="Of the draws.")


def _one_example_or_several() -> dict[str, Any]:
    """JSON schema: `examples`, or all four fields of one example."""
    null, given = {"type": "null"}, {"not": {"type": "null"}}
    names = ["examples", *ONE_EXAMPLE]
    return {
        "oneOf": [
            {
                "properties": {name: given if name in present else null for name in names},
                "required": list(present),
            }
            for present in (("examples",), ONE_EXAMPLE)
        ]
    }


class OverExamples(Request):
    """One example by itself, or several."""

    model_config = ConfigDict(json_schema_extra=_one_example_or_several())

    clean: Prompt | None = Field(
        None,
        description="The prompt that has the answer: text or token ids. With `corrupted`, `answer` "
        "and `distractor` it is one example; `examples` are several.",
    )
    corrupted: Prompt | None = Field(
        None,
        description="The same with the answer taken away, of as many tokens.",
    )
    answer: Token | None = Field(
        None,
        description="A token, by its id, or by text that is one token, if need be behind a space; "
        "the score is its logit minus that of `distractor`, at the last position.",
    )
    distractor: Token | None = Field(None, description="A token, by its text or its id.")
    examples: (
        Annotated[list[CircuitExample], Field(min_length=1, max_length=MOST_SEQUENCES)] | None
    ) = Field(None, description="Instead of these four: one example or several.")
    pooling: Literal["mean", "logsumexp", "probability"] = Field(
        "mean",
        description="What several answers, or distractors, of an example count as. mean: the mean "
        "of their logits, so that the score is the mean logit difference of all pairs. logsumexp: "
        "the logarithm of the sum of their exponentials, so that the score is the logarithm of the "
        "ratio of their probabilities. For one token both are its logit. probability: the sum of "
        "their probabilities, so that the score is a difference of probabilities.",
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None
    stream: bool = Field(False, description=PROGRESS)

    @model_validator(mode="after")
    def _one_or_several(self) -> "OverExamples":
        given = [name for name in ONE_EXAMPLE if getattr(self, name) is not None]
        if self.examples is None and len(given) < len(ONE_EXAMPLE):
            raise ValueError(f"give either examples, or all of {', '.join(ONE_EXAMPLE)}")
        if self.examples is not None and given:
            raise ValueError(f"give either examples, or {', '.join(given)}")
        return self

    def all_examples(self) -> list[CircuitExample]:
        """The examples, the one by itself as a list of one."""
        if self.examples is not None:
            return self.examples
        one = {"clean": self.clean, "corrupted": self.corrupted}
        pair = {"answers": [self.answer], "distractors": [self.distractor]}
        return [CircuitExample.model_validate(one | pair)]


class CircuitPatchRequest(OverExamples):
    """Examples, and what to change in the run of one of the prompts of each.

    Without `sets`, each part of a component is changed by itself: all of it at some layers and
    positions, or each head or neuron there. With `sets`, the parts of each set are changed at once.
    """

    component: CircuitComponent = "head_output"
    method: Literal["activation_patching", "attribution_patching", "ablation"] = Field(
        "activation_patching",
        description="activation_patching: the activation of the other prompt. "
        "attribution_patching: its effect to first order, in few passes. ablation: what "
        "`ablation` says.",
    )
    direction: Literal["denoising", "noising"] = Field(
        "denoising",
        description="denoising: the corrupted prompt's run is changed, and the effect is the share "
        "of the difference between the scores that is restored. noising: the clean one's, and the "
        "share that is lost.",
    )
    ablation: CircuitAblation | None = Field(
        None, description="For the method of that name. Default: zero."
    )
    layers: Indices | None = Field(None, description="Default: all.")
    heads: Heads | None = Field(None, description="Default: all; for `head_output` alone.")
    neurons: Indices | None = Field(None, description="Default: all; for `mlp_hidden` alone.")
    positions: Literal["all", "each"] | Positions = Field(
        "all",
        description="Which are changed together: all, or those of a list; or each by itself.",
    )
    sets: (
        Annotated[
            list[Annotated[list[CircuitPart], Field(max_length=MOST_PARTS, fail_fast=True)]],
            Field(min_length=1, max_length=MOST_SEQUENCES),
        ]
        | None
    ) = Field(
        None,
        description="Sets of parts that are changed at once. They say all about where: "
        "`component`, `layers`, `heads`, `neurons` and `positions` are not given with them.",
    )


class CircuitVerifyRequest(OverExamples):
    """A circuit, and the examples over which it is to do what the whole model does."""

    circuit: Annotated[list[CircuitPart], Field(min_length=1, max_length=MOST_SUBSETS)] = Field(
        description="Parts that do not overlap. All parts of the same components are the model."
    )
    ablation: CircuitAblation | None = Field(
        None,
        description="What parts outside of the circuit are set to. Default: their mean over the "
        "corrupted prompts.",
    )
    subsets: Subsets = Field(10, description="How many random subsets of the circuit are tried.")
    seed: Index = Field(0, description="Of the random subsets.")


class Tensor(Response):
    """Numbers by themselves, row-major."""

    shape: list[int]
    dtype: Literal["float32"] = "float32"
    byte_order: Literal["little"] = "little"
    data: Any = Field(description="Nested lists.")


class CircuitEffects(Warned):
    """Scores are in logits; effects are shares of the difference between the two prompts."""

    clean_score: float = Field(description="The mean over the examples.")
    corrupted_score: float = Field(description="The mean over the examples.")
    clean_scores: list[float] = Field(description="Each example's.")
    corrupted_scores: list[float] = Field(description="Each example's.")
    layers: list[int] | None = Field(
        description="What the first axis of `effects` counts; null for sets."
    )
    heads: list[int] | None = Field(description="What its second axis counts, with head_output.")
    neurons: list[int] | None = Field(description="What its second axis counts, with mlp_hidden.")
    positions: list[list[int]] | None = Field(
        description="The groups of positions changed together; null for sets, and for examples of "
        "different lengths whose groups differ."
    )
    effects: Tensor = Field(
        description="layers x heads, layers x neurons, or layers x groups of positions; with heads "
        "or neurons and each position by itself, layers x heads x positions. For sets, one number "
        "each. 0 is no effect and 1 the whole one; the mean of the examples' effects."
    )
    scores: Tensor = Field(
        description="The scores with the parts changed: examples x the shape of `effects`."
    )


class CircuitCompleteness(Response):
    """A subset of the circuit, removed from the circuit and from the model."""

    subset: list[int] = Field(description="The parts' places in the circuit, from 0.")
    circuit_score: float = Field(description="The circuit's score without the subset.")
    model_score: float = Field(description="The model's score without the subset.")
    incompleteness: float = Field(description="How far the two are apart.")


class CircuitMinimality(Response):
    """A part, and the removed subset of the circuit beside which removing it matters most."""

    part: int = Field(description="The part's place in the circuit, from 0.")
    subset: list[int]
    score_with: float = Field(description="The circuit's score without the subset.")
    score_without: float = Field(description="The circuit's score without subset and part.")
    minimality: float = Field(description="How far the two are apart.")


class CircuitVerification(Warned):
    """What a circuit does by itself: scores and differences in logits, means over the clean
    prompts of the examples (Wang et al. 2022, arXiv:2211.00593)."""

    model_score: float = Field(description="Of the model with nothing ablated.")
    circuit_score: float = Field(description="With all parts outside of the circuit ablated.")
    empty_score: float = Field(description="With all parts ablated.")
    faithfulness: float = Field(description="How far model and circuit are apart.")
    faithfulness_share: float | None = Field(
        description="(circuit - empty) / (model - empty) of the scores: 1 for a faithful circuit "
        "(Marks et al. 2024, arXiv:2403.19647). Null if nothing is left to share out."
    )
    incompleteness: float = Field(description="The largest of `completeness`.")
    completeness: list[CircuitCompleteness] = Field(
        description="Each part by itself removed, and random subsets."
    )
    minimality: list[CircuitMinimality] = Field(description="One for each part.")
