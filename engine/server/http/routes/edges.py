"""Edges between the parts of a model: scores, exact circuits, paths."""

import json
from base64 import b64encode
from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from flask import Response
from safetensors.numpy import save

from engine.analysis.edges.attribution import EdgeScores, edge_scores
from engine.analysis.edges.curves import Faithfulness, faithfulness
from engine.analysis.edges.graph import Edge, Graph
from engine.analysis.edges.model import edge_model
from engine.analysis.edges.nodes import NodeScores, node_scores
from engine.analysis.edges.paths import PathEffects, patch_paths
from engine.analysis.edges.pruning import Pruned, prune
from engine.contract import schemas as s
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.tasks import tasks_of, tensor, warnings_over
from engine.server.service import Service

Answer = dict[str, Any] | Response


def edges(service: Service, request: s.CircuitEdgesRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    told = warnings_over(service, model, tasks)

    def reply(found: EdgeScores) -> dict[str, Any]:
        graph = found.graph
        sources, destinations = _asked(graph, request)
        listed = [
            (destination, source)
            for destination, source in graph.ranked(found.scores)
            if source in sources and destination in destinations
        ]
        is_file = request.scores == "safetensors"
        return {
            "clean_score": found.clean_score,
            "corrupted_score": found.corrupted_score,
            "sources": [node.name for node in graph.sources],
            "destinations": [node.name for node in graph.destinations],
            "edge_count": int(graph.edges.sum()),
            "edges": [
                _scored(graph.named(place), found.scores[place])
                for place in listed[: request.top_n]
            ],
            "all_scores": tensor(found.scores) if request.scores == "array" else None,
            "safetensors_base64": _file(found) if is_file else None,
            "forward_passes": found.forward_passes,
            "backward_passes": found.backward_passes,
            **told,
        }

    def measure(report: Report) -> EdgeScores:
        _asked(edge_model(model.kit).graph, request)
        return edge_scores(
            model.kit, tasks, method=request.method, steps=request.steps, progress=report
        )

    return Sweep(measure, reply).answer(service, stream=request.stream, unit="passes")


def edge_faithfulness(service: Service, request: s.EdgeFaithfulnessRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    told = warnings_over(service, model, tasks)

    def measure(report: Report) -> Faithfulness:
        ranking = _edges(request.edges)
        if ranking is None:
            scored = edge_scores(model.kit, tasks)
            ranking = [scored.graph.named(place) for place in scored.graph.ranked(scored.scores)]
        return faithfulness(
            model.kit,
            tasks,
            ranking,
            sizes=request.sizes,
            random=request.random,
            seed=request.seed,
            progress=report,
        )

    def reply(found: Faithfulness) -> dict[str, Any]:
        return {
            "sizes": found.sizes,
            "edge_count": found.edges,
            "clean_score": found.clean_score,
            "corrupted_score": found.corrupted_score,
            "scores": found.scores.tolist(),
            "faithfulness": found.faithfulness.tolist(),
            "random_faithfulness": found.random_faithfulness.tolist(),
            "cpr": found.cpr,
            "cmd": found.cmd,
            **told,
        }

    return Sweep(measure, reply).answer(service, stream=request.stream, unit="circuits")


def prune_circuit(service: Service, request: s.CircuitPruneRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    told = warnings_over(service, model, tasks)

    def measure(report: Report) -> Pruned:
        return prune(
            model.kit,
            tasks,
            request.threshold,
            edges=_edges(request.edges),
            distance=request.distance,
            progress=report,
        )

    def reply(found: Pruned) -> dict[str, Any]:
        scored = zip(found.edges, found.increases, strict=True)
        kept = asdict(found) | {"edges": [_scored(edge, score) for edge, score in scored]}
        del kept["increases"]
        return kept | told

    return Sweep(measure, reply).answer(service, stream=request.stream, unit="edges")


def paths(service: Service, request: s.CircuitPathsRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    told = warnings_over(service, model, tasks)

    def reply(found: PathEffects) -> dict[str, Any]:
        return {
            "clean_scores": found.clean_scores,
            "corrupted_scores": found.corrupted_scores,
            "scores": found.scores.tolist(),
            "effects": found.effects.tolist(),
            **told,
        }

    return Sweep(
        lambda report: patch_paths(
            model.kit,
            tasks,
            request.senders,
            request.receivers,
            held=request.held,
            progress=report,
        ),
        reply,
    ).answer(service, stream=request.stream, unit="sets")


def nodes(service: Service, request: s.CircuitNodesRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    told = warnings_over(service, model, tasks)

    def reply(found: NodeScores) -> dict[str, Any]:
        weights = np.abs(found.scores) if found.magnitudes is None else found.magnitudes
        magnitudes = [None] * len(weights) if found.magnitudes is None else weights.tolist()
        return {
            "clean_score": float(np.mean(found.clean_scores)),
            "corrupted_score": float(np.mean(found.corrupted_scores)),
            "nodes": [
                asdict(found.nodes[place])
                | {"score": float(found.scores[place]), "magnitude": magnitudes[place]}
                for place in np.argsort(-weights, kind="stable")
            ],
            "forward_passes": found.forward_passes,
            "backward_passes": found.backward_passes,
            **told,
        }

    return Sweep(
        lambda report: node_scores(
            model.kit,
            tasks,
            qk_fix=request.qk_fix,
            grad_drop=request.grad_drop,
            progress=report,
        ),
        reply,
    ).answer(service, stream=request.stream, unit="passes")


def _asked(graph: Graph, request: s.CircuitEdgesRequest) -> tuple[Container[int], Container[int]]:
    """The places of the sources and destinations whose edges are listed."""
    sources: Container[int] = range(len(graph.sources))
    destinations: Container[int] = range(len(graph.destinations))
    if request.sources is not None:
        sources = {graph.source(name) for name in request.sources}
    if request.destinations is not None:
        destinations = {graph.destination(name) for name in request.destinations}
    return sources, destinations


def _edges(given: Sequence[s.EdgeSpec] | None) -> list[Edge] | None:
    return None if given is None else [(each.source, each.destination) for each in given]


def _scored(edge: Edge, score: float) -> dict[str, Any]:
    return {"source": edge[0], "destination": edge[1], "score": float(score)}


def _file(found: EdgeScores) -> str:
    """A safetensors file of all scores, in base64."""
    names = {
        "sources": [node.name for node in found.graph.sources],
        "destinations": [node.name for node in found.graph.destinations],
    }
    metadata = {name: json.dumps(each) for name, each in names.items()}
    return b64encode(save({"scores": found.scores}, metadata)).decode()
