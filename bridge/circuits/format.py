"""The parts of a circuit's file, each with its meaning and units."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Index = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Token = Annotated[str, Field(min_length=1)] | Index
Prompt = Annotated[str, Field(min_length=1)] | Annotated[list[Index], Field(min_length=1)]


class Part(BaseModel):
    """What all parts of the file have in common: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def given(self) -> dict[str, Any]:
        """The fields that are not null, as a request has them."""
        return self.model_dump(exclude_none=True)


class Model(Part):
    """The model that the circuit was found in. All but `id` and `quantization` is its shape, which
    a model that the circuit is verified on must share."""

    id: str = Field(min_length=1)
    architecture: str | None = Field(description="mlx-lm's `model_type`.")
    layers: Index | None
    heads: Index | None = Field(description="Attention heads a layer.")
    kv_heads: Index | None
    head_dim: Index | None
    hidden_size: Index | None
    intermediate_size: Index | None = Field(description="Width inside a layer's MLP.")
    quantization: str | None = Field(description="For example `4-bit, group 32`; null if none.")


class Example(Part):
    """Two prompts of equal length in tokens, and the tokens whose logits are compared."""

    clean: Prompt = Field(description="The prompt that has the answer: text, or token ids.")
    corrupted: Prompt = Field(description="The same with the answer taken away.")
    answers: list[Token] = Field(min_length=1)
    distractors: list[Token] = Field(min_length=1)


class Metric(Part):
    """What is measured of a pass: the logit of the answers minus that of the distractors, at the
    last position."""

    name: Literal["logit_difference"]
    pooling: Literal["mean", "logsumexp"] = Field(description="Of several answers' logits.")


class Ablation(Part):
    """What an ablated component is set to; `POST /v1/circuits/patch` describes each field."""

    kind: Literal["zero", "mean", "resample"]
    references: list[Prompt] | None = None
    over: Literal["prompts", "positions"] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    seed: Index | None = None


class Method(Part):
    """How effects are measured, in the words of `POST /v1/circuits/patch`."""

    name: Literal["activation_patching", "attribution_patching", "ablation"]
    direction: Literal["denoising", "noising"]
    ablation: Ablation | None = Field(None, description="Of the method of that name; null: zero.")


class Component(Part):
    """A component of a layer, or one head or neuron of it, with its effect by itself."""

    layer: Index
    component: str = Field(min_length=1, description="`head_output`, `mlp_hidden`, `mlp`, …")
    head: Index | None = Field(None, description="Null: all, or none in this component.")
    neuron: Index | None = Field(None, description="Null: all, or none in this component.")
    positions: Annotated[list[int], Field(min_length=1)] | None = Field(
        None, description="Negative ones count from the end. Null: all."
    )
    score: Finite = Field(description="Its effect by itself, as a share of the difference.")

    @property
    def name(self) -> str:
        """The usual short name: L23H3, L5N812, L7 mlp, with its positions if it has some."""
        if self.head is not None:
            place = f"H{self.head}"
        else:
            place = f" {self.component}" if self.neuron is None else f"N{self.neuron}"
        at = "" if self.positions is None else f" at {' '.join(map(str, self.positions))}"
        return f"L{self.layer}{place}{at}"

    @property
    def place(self) -> dict[str, Any]:
        """It as a part of a set that the engine is asked to change."""
        return {name: value for name, value in self.given().items() if name != "score"}


class Scores(Part):
    """What was measured over all examples when the circuit was saved."""

    clean: Finite = Field(description="Mean logit difference over the clean prompts, in logits.")
    corrupted: Finite = Field(description="The same over the corrupted prompts.")
    circuit: Finite = Field(description="The effect of all components at once, as a share.")


class Tolerances(Part):
    """How far what is measured again may be from what was saved."""

    component: Tolerance = Field(0.1, description="Of a component's effect, absolute.")
    circuit: Tolerance = Field(0.1, description="Of the effect of all components, absolute.")
    difference: Tolerance = Field(
        0.25,
        description="Of the difference between the clean and the corrupted score, as a share of "
        "the saved one.",
    )
