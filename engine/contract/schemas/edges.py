"""Edges between the parts of a model: scores, exact circuits, paths."""

from typing import Annotated, Literal

from pydantic import Field

from engine.contract.schemas.base import (
    LARGEST,
    MOST_SEQUENCES,
    Index,
    Name,
    Request,
    Response,
    Warned,
    Whole,
)
from engine.contract.schemas.circuits import OverExamples, Tensor

MOST_EDGES = 1 << 20
EdgeSteps = Annotated[int, Field(ge=1, le=1024), Whole]
EdgeCount = Annotated[int, Field(ge=0, le=LARGEST), Whole]
RandomCircuits = Annotated[int, Field(ge=0, le=MOST_SEQUENCES), Whole]
Threshold = Annotated[float, Field(ge=0, le=1e9)]
NodeNames = Annotated[list[Name], Field(min_length=1, max_length=MOST_SEQUENCES)]


class EdgeSpec(Request):
    """An edge by the names of its ends."""

    source: Name = Field(
        description="`input`, `a5.h3` for head 3 of layer 5, or `m5` for an MLP.",
        examples=["input", "a0.h1", "m0"],
    )
    destination: Name = Field(
        description="`a5.h3.q`, `a5.h3.k`, `a5.h3.v`; `a5.g1.k` and `a5.g1.v` where groups of "
        "heads share keys and values; `m5`; or `logits`.",
        examples=["logits"],
    )


EdgeList = Annotated[list[EdgeSpec], Field(min_length=1, max_length=MOST_EDGES)]


class CircuitEdgesRequest(OverExamples):
    """Examples over which all edges are scored."""

    method: Literal["eap", "eap_ig"] = Field(
        "eap_ig",
        description="eap: the gradient of the clean prompt's run (Syed et al. 2023). eap_ig: the "
        "mean gradient of `steps` runs between the prompts' embeddings (Hanna et al. 2024).",
    )
    steps: EdgeSteps = Field(5, description="For eap_ig.")
    top_n: EdgeCount = Field(100, description="How many edges are listed, the largest first.")
    sources: NodeNames | None = Field(None, description="List only edges from these.")
    destinations: NodeNames | None = Field(None, description="List only edges to these.")
    scores: Literal["none", "array", "safetensors"] = Field(
        "none",
        description="All scores too: as nested lists, or as a safetensors file in base64 that "
        "names sources and destinations.",
    )


class EdgeFaithfulnessRequest(OverExamples):
    """A ranking of edges, and how many of its first ones circuits keep."""

    edges: EdgeList | None = Field(
        None, description="The ranking. Default: all edges by their absolute scores of eap_ig."
    )
    sizes: Annotated[list[EdgeCount], Field(min_length=1, max_length=MOST_SEQUENCES)] | None = (
        Field(None, description="Default: 0.1 % to 50 % of all edges in nine steps.")
    )
    random: RandomCircuits = Field(0, description="Random circuits of each size beside them.")
    seed: Index = Field(0, description="Of the random circuits.")


class CircuitPruneRequest(OverExamples):
    """A circuit to be pruned edge by edge (Conmy et al. 2023)."""

    threshold: Threshold = Field(
        description="An edge whose patching takes the circuit less than this further away is not "
        "kept."
    )
    edges: EdgeList | None = Field(
        None, description="The circuit to begin with. Default: all edges, with a run of each."
    )
    distance: Literal["kl", "score"] = Field(
        "kl",
        description="How far a circuit is from the whole model. kl: the divergence of its "
        "probabilities of the next token, in nats. score: the absolute difference of the scores.",
    )


class CircuitPathsRequest(OverExamples):
    """Senders and receivers of path patching."""

    senders: Annotated[list[NodeNames], Field(min_length=1, max_length=MOST_SEQUENCES)] = Field(
        description="Sets of sources; the senders of a set send together, and each set by itself."
    )
    receivers: NodeNames = Field(description="Destinations, which receive together.")
    held: Literal["heads", "heads_and_mlps"] = Field(
        "heads_and_mlps",
        description="What keeps its value of the clean prompt on the way. heads: MLPs pass on what "
        "they are sent (Wang et al. 2022). heads_and_mlps: the edges alone count.",
    )


class CircuitNodesRequest(OverExamples):
    """Examples over which all nodes are scored by AtP* (Kramár et al. 2024)."""

    qk_fix: bool = Field(
        True, description="Calculate the attention patterns of other queries and keys exactly."
    )
    grad_drop: bool = Field(
        True,
        description="Magnitudes as well, for which the gradient through each layer is dropped in "
        "turn: one more pass and its backward pass for each layer.",
    )


class ScoredEdge(Response):
    source: str
    destination: str
    score: float


class CircuitEdges(Warned):
    """Scores estimate how the task's score changes with the edge patched, in its units."""

    clean_score: float = Field(description="The mean over the examples.")
    corrupted_score: float = Field(description="The mean over the examples.")
    sources: list[str] = Field(description="All nodes that write, in the order of the pass.")
    destinations: list[str] = Field(description="All nodes that read, in the order of the pass.")
    edge_count: int = Field(description="How many edges there are in all.")
    edges: list[ScoredEdge] = Field(description="Those of the largest absolute scores.")
    all_scores: Tensor | None = Field(
        description="destinations x sources, 0 where there is no edge; with `scores` array."
    )
    safetensors_base64: str | None = Field(
        description="A safetensors file with the tensor `scores`, destinations x sources, and the "
        "names of both as JSON in its metadata; with `scores` safetensors."
    )
    forward_passes: int = Field(description="Of the whole model over one prompt.")
    backward_passes: int


class EdgeFaithfulness(Warned):
    """How much of the difference between the prompts circuits of edges restore."""

    sizes: list[int]
    edge_count: int
    clean_score: float
    corrupted_score: float
    scores: list[float] = Field(description="Of the circuit of each size; means over the examples.")
    faithfulness: list[float] = Field(
        description="(score - corrupted score) / (clean score - corrupted score) of each size."
    )
    random_faithfulness: list[list[float]] = Field(
        description="Of random circuits: random circuits x sizes."
    )
    cpr: float = Field(
        description="The area under the faithfulness over the share of edges that is kept."
    )
    cmd: float = Field(description="The area between the faithfulness and 1.")


class PrunedCircuit(Warned):
    """What is left of a circuit."""

    edges: list[ScoredEdge] = Field(
        description="In the order of the pass; the score is how much further away the circuit was "
        "with the edge patched."
    )
    tried: int = Field(description="How many edges there were to begin with.")
    distance: float = Field(description="How far the circuit is from the whole model.")
    score: float
    clean_score: float
    corrupted_score: float


class CircuitPaths(Warned):
    """What the paths from senders to receivers carry, in units of the task's score."""

    clean_scores: list[float] = Field(description="Each example's.")
    corrupted_scores: list[float] = Field(description="Each example's.")
    scores: list[list[float]] = Field(
        description="The scores with the paths patched: examples x sets of senders."
    )
    effects: list[float] = Field(
        description="For each set of senders the mean of score less clean score."
    )


class ScoredNode(Response):
    name: str
    kind: Literal["query", "key", "value", "head", "mlp"]
    layer: int
    unit: int | None = Field(description="The head, or the group of heads; null for an MLP.")
    score: float
    magnitude: float | None = Field(description="By GradDrop; null without it.")


class CircuitNodes(Warned):
    """Scores estimate how the task's score changes with the node patched, in its units."""

    clean_score: float
    corrupted_score: float
    nodes: list[ScoredNode] = Field(
        description="By falling magnitude, or by falling absolute score without magnitudes."
    )
    forward_passes: int
    backward_passes: int
