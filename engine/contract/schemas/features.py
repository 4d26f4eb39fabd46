"""Sparse features: sets of them that are loaded beside a model, and how well they stand for it."""

from typing import Any

from pydantic import Field

from engine.contract.schemas.base import (
    LONGEST_PATH,
    MOST_SEQUENCES,
    PROGRESS,
    Name,
    Request,
    Response,
    Text,
    TokenIds,
    Warned,
)
from engine.contract.schemas.tokens import SPECIAL_TOKENS

Sequences = list[Text | TokenIds]


class LoadFeaturesRequest(Request):
    features_path: str = Field(
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="A folder in a format of SAELens, Gemma Scope, sparsify or circuit-tracer, or "
        "one with such folders in it; or a hub id where allowed.",
    )
    subfolder: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_PATH,
        pattern=r"^[^\x00]+$",
        description="The folder inside of it; of a hub id, only its files are fetched.",
    )
    feature_set: Name | None = Field(
        None,
        description="The id to give the set; of several, what theirs begin with. Default: the last "
        "part of the path.",
    )
    hook_name: Name | None = Field(
        None,
        description="Where one set reads, in TransformerLens's names, in place of what its files "
        "say: `blocks.5.hook_resid_post`.",
    )
    hook_name_out: Name | None = Field(
        None, description="Where it writes; default: where it reads."
    )
    model: str | None = None


class FeatureSetEntry(Warned):
    id: str
    model: str = Field(description="The model that it was checked against.")
    architecture: str = Field(description="`standard`, `jumprelu`, `topk`, `skip_transcoder`, …")
    reads: list[str] = Field(
        description="What it encodes, in TransformerLens's names: one, or one a layer."
    )
    writes: list[str] = Field(description="What it reconstructs: the same, or a later value.")
    layers: list[int | None] = Field(description="The layer of each that it reads.")
    d_in: int
    d_out: int
    n_features: int = Field(description="Of each layer.")
    bytes: int = Field(description="Memory that its weights take.")
    metadata: dict[str, Any] = Field(description="What its files say beside.")


class FeatureSetList(Response):
    feature_sets: list[FeatureSetEntry]


class UnloadFeaturesRequest(Request):
    feature_set: Name
    model: str | None = None


class UnloadedFeatures(Response):
    unloaded: str


class FeatureMetricsRequest(Request):
    feature_set: Name
    prompts: Sequences = Field(
        min_length=1,
        max_length=MOST_SEQUENCES,
        description="Texts, or token ids, each of at least two tokens.",
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    exclude_special_tokens: bool = Field(
        False,
        description="Neither count positions of special tokens, nor put reconstructions there.",
    )
    model: str | None = None
    stream: bool = Field(False, description=PROGRESS)


class FeatureLayerMetrics(Response):
    layer: int | None
    explained_variance: float | None = Field(
        description="1 - sum |y - y'|^2 / sum |y - mean(y)|^2; null if the values do not vary."
    )
    mse: float = Field(description="The mean of the squared errors of all numbers.")
    l0: float = Field(description="Features that are not 0 at a position, in the mean.")
    active: float = Field(description="The share of the features that are not 0 somewhere.")


class FeatureMetrics(Warned):
    """Losses are means over all predicted tokens, in nats."""

    positions: int = Field(description="Those that count.")
    predicted_tokens: int
    layers: list[FeatureLayerMetrics]
    loss: float = Field(description="Of the model as it is.")
    loss_reconstructed: float = Field(
        description="With the reconstructions in the place of what the set writes."
    )
    loss_zero: float = Field(description="With zeros there.")
    loss_mean: float = Field(description="With the mean of the values there.")
    loss_recovered: float | None = Field(
        description="(zero - reconstructed) / (zero - clean); null where nothing was lost."
    )
    loss_recovered_from_mean: float | None = Field(description="The same from the mean.")
