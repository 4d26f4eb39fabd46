"""The texts that features are on in, and the tokens that they promote."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.base import (
    LONGEST_PATH,
    PROGRESS,
    Count,
    Index,
    LensTokens,
    Name,
    Request,
    Response,
    Texts,
    Warned,
    Whole,
    one_of,
    require_one,
)

MOST_FEATURES = 1024
Around = Annotated[int, Field(ge=0, le=128), Whole]
WindowLength = Annotated[int, Field(ge=2, le=4096), Whole]
Chosen = Annotated[list[Index], Field(min_length=1, max_length=MOST_FEATURES, fail_fast=True)]


class FeatureExamplesRequest(Request):
    model_config = ConfigDict(json_schema_extra=one_of("texts", "texts_path"))

    feature_set: Name
    features: Chosen = Field(description="The features whose examples are looked for.")
    layer: Index | None = Field(
        None, description="The layer that they are of, where the set has several."
    )
    texts: Texts | None = Field(None, description="The texts, each a document.")
    texts_path: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="A text file, a .jsonl file with a string, or an object with a `text`, a line, "
        "or a folder of such files on the server, below one that it allows.",
    )
    top_k: LensTokens = Field(10, description="Examples of a feature, each of another window.")
    before: Around = Field(16, description="Tokens before the one that a feature is on most at.")
    after: Around = Field(8, description="Tokens after it.")
    context: WindowLength = Field(128, description="Tokens of a text that are run together.")
    skipped: Index = Field(
        1,
        description="First positions of a window that do not count: most models have a residual "
        "stream there like nowhere else.",
    )
    tokens: Count | None = Field(None, description="End after so many; default: all texts.")
    effects: LensTokens = Field(10, description="How many promoted and suppressed tokens to list.")
    resume: bool = Field(
        False,
        description="Go on where the same request was when it was cancelled, or its client went "
        "away; from the beginning if there is no such request.",
    )
    model: str | None = None
    stream: bool = Field(False, description=PROGRESS)

    @model_validator(mode="after")
    def _check(self) -> Any:
        require_one(self, "texts", "texts_path")
        return self


class FeatureExample(Response):
    value: float = Field(description="The feature's largest value in its window.")
    position: int = Field(description="The index of its token among `tokens`.")
    tokens: list[int]
    texts: list[str]
    activations: list[float] = Field(description="The feature at each of the tokens.")
    file: str = Field(description="The file that the text is from; of `texts`, its index.")
    document: int = Field(description="The byte of the file at which the document begins.")
    token: int = Field(description="The index of the token at `position` in the document.")


class FeatureEffect(Response):
    id: int
    text: str
    logit: float = Field(
        description="What one unit of the feature adds to the token's logit: its decoder weights "
        "times the final norm's weights times the unembedding, where the residual stream's root "
        "mean square is 1."
    )


class FeatureExamplesEntry(Response):
    feature: int
    on: int = Field(description="Positions at which it is on.")
    density: float = Field(description="Their share of all positions.")
    mean: float | None = Field(description="Its mean there; null if it is on nowhere.")
    edges: list[float | None] = Field(
        description="The histogram's bins: bin i is from edge i to edge i + 1; null is infinity."
    )
    histogram: list[int] = Field(description="How many positions have a value in each bin.")
    examples: list[FeatureExample] = Field(description="The largest value first.")
    promoted: list[FeatureEffect] | None = Field(
        description="Whose logits rise most, the most first; null if the set does not write to "
        "the residual stream."
    )
    suppressed: list[FeatureEffect] | None = Field(
        description="Whose logits fall most, the most first."
    )


class FeatureExamples(Warned):
    feature_set: str
    layer: int | None
    positions: int = Field(description="Those that count.")
    tokens: int = Field(description="Positions that were run.")
    resumed_tokens: int = Field(description="How many of them an earlier request had run.")
    features: list[FeatureExamplesEntry]


class FeatureTokensRequest(Request):
    feature_set: Name
    feature: Index
    layer: Index | None = Field(
        None, description="The layer that it is of, where the set has several."
    )
    top_k: LensTokens = Field(10, description="How many tokens to list of each kind.")
    model: str | None = None


class FeatureTokens(Response):
    feature_set: str
    feature: int
    layer: int | None
    promoted: list[FeatureEffect] = Field(description="Whose logits rise most, the most first.")
    suppressed: list[FeatureEffect] = Field(description="Whose logits fall most, the most first.")
