"""Attribution graphs: what is asked for, and the document that the reply is."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import (
    PROGRESS,
    Count,
    Float32,
    Index,
    LensTokens,
    Name,
    Request,
    Response,
    Text,
    TokenId,
    TokenIds,
    Warned,
)
from engine.contract.schemas.tokens import SPECIAL_TOKENS

MOST_FEATURES = 4096
Share = Annotated[float, Field(ge=0, le=1)]
Mass = Annotated[float, Field(gt=0, le=1)]


class ReplacementRequest(Request):
    """A prompt, and the transcoders that take the place of the model's MLPs in its pass."""

    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    feature_sets: Annotated[list[Name], Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="The ids of loaded transcoders: one for each of some layers, or one "
        "cross-layer transcoder. Default: all that are loaded.",
    )
    skipped_positions: Annotated[list[Index], Field(max_length=MOST_FEATURES)] = Field(
        default_factory=lambda: [0],
        description="Where transcoders are not used, from 0: what MLPs write there belongs to no "
        "node. Transcoders are rarely trained on a prompt's first position.",
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    model: str | None = None


class AttributionGraphRequest(ReplacementRequest):
    """What a graph of a prompt's last position is to have."""

    max_logits: LensTokens = Field(10, description="How many logits it has at most.")
    logit_mass: Mass = Field(
        0.95, description="It has the likeliest, no more than have together this probability."
    )
    max_feature_nodes: Count = Field(
        5000, description="How many active features are its nodes at most: the most influential."
    )
    node_threshold: Share = Field(
        0.8, description="The reply has the nodes that have together this share of all influence."
    )
    edge_threshold: Share = Field(
        0.98, description="And of the edges between them those that have together this share."
    )
    slug: Name | None = Field(
        None, description="A name for the graph. Default: of the prompt's words."
    )
    stream: bool = Field(False, description=PROGRESS)


class GraphScores(Response):
    """How much of the model's computation the features explain, of the whole graph, from 0 to 1."""

    replacement: float = Field(
        description="Of the influence that begins at token embeddings and at errors, the share "
        "that begins at token embeddings."
    )
    completeness: float = Field(
        description="The share of what enters nodes that does not come from errors, averaged by "
        "the nodes' influence."
    )


class GraphCounts(Response):
    """What the whole graph has, before it is pruned."""

    active_features: int = Field(description="Features that are active in the prompt.")
    nodes: int
    edges: int


class GraphMetadata(Response):
    """What the graph is of."""

    slug: str
    scan: str = Field(description="The model's id.")
    transcoder_list: list[str]
    prompt_tokens: list[str]
    prompt: str
    node_threshold: float
    schema_version: Literal[1]
    info: dict[str, Any]
    generation_settings: dict[str, Any]
    pruning_settings: dict[str, Any]
    scores: GraphScores
    counts: GraphCounts


class GraphView(Response):
    """What a viewer shows first: nothing is chosen."""

    pinnedIds: list[str]  # noqa: N815
    supernodes: list[list[str]]
    linkType: str  # noqa: N815
    clickedId: str  # noqa: N815
    sg_pos: str


class GraphNode(Response):
    """A feature, what features miss, a token's embedding, or a logit, in Neuronpedia's fields."""

    node_id: str = Field(
        description="layer_feature_position of a feature; 0_layer_position of an error, with "
        "_error behind it where a feature has that; E_token_position of an embedding; "
        "(layers + 1)_token_position of a logit."
    )
    feature: int = Field(
        description="Of a feature the pair (l + f)(l + f + 1) / 2 + f of layer and index, of a "
        "logit its token, of an embedding its position, of an error -1."
    )
    layer: str = Field(description="E for an embedding, layers + 1 for a logit.")
    ctx_idx: int = Field(description="The position, from 0.")
    feature_type: Literal[
        "cross layer transcoder", "mlp reconstruction error", "embedding", "logit"
    ] = Field(description="The first is every feature, of whatever transcoder.")
    token_prob: float = Field(description="A logit's probability, else 0.")
    is_target_logit: bool
    run_idx: int
    reverse_ctx_idx: int
    jsNodeId: str  # noqa: N815
    clerp: str = Field(description="A label; empty for a feature.")
    influence: float = Field(
        description="The share of all influence that it has together with those that have more."
    )
    index: int | None = Field(
        description="The feature in its layer, the token of an embedding or a logit; an error has "
        "none."
    )
    activation: float | None = Field(description="A feature's.")
    value: float | None = Field(
        description="A feature's pre-activation; of a logit its difference from the mean of all. "
        "What enters it in the whole graph and `bias` add up to it, where all active features are "
        "nodes."
    )
    bias: float | None = Field(description="What comes from no node.")


class GraphLink(Response):
    """An edge: the direct effect of its source, by the source's activation, on its target."""

    source: str
    target: str
    weight: float


class AttributionGraph(Warned):
    """A pruned graph, in the fields that Neuronpedia's viewer reads."""

    metadata: GraphMetadata
    qParams: GraphView  # noqa: N815
    nodes: list[GraphNode]
    links: list[GraphLink]


class FeaturePlace(Request):
    """A feature of a layer at a position."""

    layer: Index
    position: Index
    feature: Index


class FeatureActivation(FeaturePlace):
    """A feature, and what its activation is set to."""

    activation: Float32 = Field(0.0, description="0 ablates it.")


Places = Annotated[list[FeaturePlace], Field(max_length=MOST_FEATURES, fail_fast=True)]
Changes = Annotated[
    list[FeatureActivation], Field(min_length=1, max_length=MOST_FEATURES, fail_fast=True)
]
LogitTokens = Annotated[list[Text | TokenId], Field(min_length=1, max_length=1024, fail_fast=True)]


class GraphInterventionRequest(ReplacementRequest):
    """Features that are set to other activations, and what is looked at beside."""

    changes: Changes
    features: Places = Field(
        default_factory=list, description="Active features that are looked at."
    )
    tokens: LogitTokens | None = Field(
        None,
        description="Whose logits are looked at: by id, or by text that is one token, if need be "
        "behind a space. Default: the ten likeliest.",
    )


class GraphOutcome(Response):
    """What became of a feature's activation, or of a logit's difference from the mean of all."""

    before: float = Field(description="In the prompt's own pass.")
    predicted: float = Field(
        description="With attention patterns, norms and all other features kept, of a feature "
        "without its activation function: what the graph's edges say."
    )
    measured: float = Field(description="In the model, where all is calculated again.")


class FeatureOutcome(GraphOutcome):
    layer: int
    position: int
    feature: int


class LogitOutcome(GraphOutcome):
    id: int
    text: str
    probability: float = Field(description="In the prompt's own pass.")
    probability_measured: float = Field(description="In the model with the changes.")


class GraphInterventionOutcomes(Warned):
    features: list[FeatureOutcome]
    logits: list[LogitOutcome]
