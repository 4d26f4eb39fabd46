"""The graph of a transformer: what writes into the residual stream, and what reads it.

Sources are ``input``, the embedded tokens; ``a5.h3``, head 3 of layer 5; ``m5``, the MLP of layer
5. Destinations are the queries of a head, ``a5.h3.q``; its keys and values, ``a5.h3.k`` and
``a5.h3.v``, or those of a group of heads that share them, ``a5.g1.k`` and ``a5.g1.v``; an MLP,
``m5``; and ``logits``. An edge from a source to each destination behind it says that the
destination reads what the source writes (Elhage et al. 2021, transformer-circuits.pub).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from engine.errors import InvalidRequestError

Kind = Literal["input", "query", "key", "value", "head", "mlp", "logits"]
Edge = tuple[str, str]
"""The names of a source and a destination."""
LETTERS: dict[Kind, str] = {"query": "q", "key": "k", "value": "v"}
SHOWN = 8


@dataclass(frozen=True)
class Node:
    """A source or a destination: `unit` is the head, or the group of heads of keys and values."""

    name: str
    kind: Kind
    layer: int | None = None
    unit: int | None = None


@dataclass(frozen=True)
class Graph:
    """The nodes of a model in the order of the pass; `sequential` says of each layer whether its
    MLP reads what its attention writes, which it does not in parallel blocks.

    Every destination reads the first so many sources: `reach`, by its place.
    """

    heads: tuple[int, ...]
    groups: tuple[int, ...]
    sequential: tuple[bool, ...]

    @cached_property
    def sources(self) -> list[Node]:
        """The nodes that write, in the order of the pass."""
        nodes = [Node("input", "input")]
        for layer, heads in enumerate(self.heads):
            nodes += [Node(f"a{layer}.h{head}", "head", layer, head) for head in range(heads)]
            nodes.append(Node(f"m{layer}", "mlp", layer))
        return nodes

    @cached_property
    def destinations(self) -> list[Node]:
        """The nodes that read, in the order of the pass."""
        nodes: list[Node] = []
        for layer, (heads, groups) in enumerate(zip(self.heads, self.groups, strict=True)):
            for kind, letter in LETTERS.items():
                shared = kind != "query" and groups != heads
                count, word = (groups, "g") if shared else (heads, "h")
                nodes += [
                    Node(f"a{layer}.{word}{unit}.{letter}", kind, layer, unit)
                    for unit in range(count)
                ]
            nodes.append(Node(f"m{layer}", "mlp", layer))
        return [*nodes, Node("logits", "logits")]

    @cached_property
    def first_head(self) -> list[int]:
        """The place of each layer's first head among the sources; its MLP's is behind its last."""
        places, place = [], 1
        for heads in self.heads:
            places.append(place)
            place += heads + 1
        return places

    @cached_property
    def reach(self) -> np.ndarray:
        """How many of the sources each destination reads, ``[destinations]``: the first ones."""
        found = []
        for node in self.destinations:
            if node.layer is None:
                found.append(len(self.sources))
                continue
            first = self.first_head[node.layer]
            behind = node.kind == "mlp" and self.sequential[node.layer]
            found.append(first + (self.heads[node.layer] if behind else 0))
        return np.array(found)

    @cached_property
    def edges(self) -> np.ndarray:
        """Where there is an edge, ``[destinations, sources]``."""
        return np.arange(len(self.sources))[None] < self.reach[:, None]

    @cached_property
    def source_places(self) -> dict[str, int]:
        """The places of the sources by their names."""
        return {node.name: place for place, node in enumerate(self.sources)}

    @cached_property
    def destination_places(self) -> dict[str, int]:
        """The places of the destinations by their names."""
        return {node.name: place for place, node in enumerate(self.destinations)}

    def of_layer(self, layer: int, kind: Kind) -> slice:
        """Where the destinations of one kind in a layer are."""
        if kind == "mlp":
            first = self.destination_places[f"m{layer}"]
            return slice(first, first + 1)
        shared = kind != "query" and self.groups[layer] != self.heads[layer]
        count = self.groups[layer] if kind != "query" else self.heads[layer]
        first = self.destination_places[f"a{layer}.{'g' if shared else 'h'}0.{LETTERS[kind]}"]
        return slice(first, first + count)

    def source(self, name: str) -> int:
        """The place of a source. Raises InvalidRequestError, with what exists."""
        return self._place(name, self.source_places, "source")

    def destination(self, name: str) -> int:
        """The place of a destination. Raises InvalidRequestError, with what exists."""
        return self._place(name, self.destination_places, "destination")

    def mask(self, edges: Iterable[Edge]) -> np.ndarray:
        """True at some edges, ``[destinations, sources]``.

        Raises InvalidRequestError for what is no node, no edge, or given twice.
        """
        mask = np.zeros_like(self.edges)
        for source, destination in edges:
            place = self.destination(destination), self.source(source)
            if not self.edges[place]:
                raise InvalidRequestError(
                    f"edges: {destination} does not read {source}, which is behind it"
                )
            if mask[place]:
                raise InvalidRequestError(f"edges: {source} to {destination} is given twice")
            mask[place] = True
        return mask

    def ranked(self, scores: np.ndarray) -> list[tuple[int, int]]:
        """The places ``(destination, source)`` of all edges by falling absolute score."""
        places = np.argwhere(self.edges)
        order = np.argsort(-np.abs(scores[self.edges]), kind="stable")
        return [(int(d), int(s)) for d, s in places[order]]

    def named(self, place: tuple[int, int]) -> Edge:
        """The names of an edge at a place."""
        return self.sources[place[1]].name, self.destinations[place[0]].name

    def _place(self, name: str, places: dict[str, int], kind: str) -> int:
        if name not in places:
            alike = [each for each in places if _stem(each) == _stem(name)] or list(places)
            known = ", ".join(alike[:SHOWN])
            raise InvalidRequestError(
                f"{name!r} is no {kind} of this model; it has {known}"
                + (f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else "")
            )
        return places[name]


def _stem(name: str) -> str:
    """The part and the layer of a name."""
    return re.split(r"[.]", name, maxsplit=1)[0]
