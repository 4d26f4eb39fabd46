"""Looks at one prompt's pass through the model of a running engine."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import LMStudioError
from bridge.report.view import (
    Circuit,
    CircuitEdge,
    CircuitHead,
    LensToken,
    Saliency,
    View,
)
from bridge.wire import from_record

HEADS_SHOWN = 12
EDGES_SHOWN = 40
UNSUPPORTED = "unsupported_operation"
"""The kind of the error of a model whose architecture has no gradients, or no edges."""
HOOKS: list[api.HookSpec] = [
    {"layer_name": "embedding", "component": "embedding"},
    {"layer_name": "*", "component": "residual"},
    {"layer_name": "*", "component": "attention_pattern"},
]


@dataclass(frozen=True)
class Contrast:
    """A second prompt of equal length in tokens, and the two tokens that tell the prompts apart."""

    corrupted: str
    answer: str
    distractor: str


def collect(
    client: LMStudioNeuroScopeClient, prompt: str, contrast: Contrast | None = None
) -> View:
    """Everything that a report shows of `prompt`; the circuit only where there is a contrast."""
    result = client.forward(prompt, HOOKS, logits="none", top_k=0, activation_format="reference")
    tensors = client.get_tensors(result["capture_id"])
    client.delete_capture(result["capture_id"])
    records = [records[0] for records in result["activations"].values()]
    arrays = {
        (record["component"], record["layer"]): from_record(record, tensors)[0]
        for record in records
    }
    stream = [array for (name, _), array in arrays.items() if name in ("embedding", "residual")]
    patterns = {
        layer: array
        for (name, layer), array in arrays.items()
        if name == "attention_pattern" and layer is not None
    }
    lens = client.logit_lens(prompt)
    return View(
        model=client.health()["model"] or "",
        tokens=result["tokens"][0],
        texts=result["texts"][0],
        patterns=patterns,
        norms=np.stack([np.linalg.norm(array, axis=-1) for array in stream]),
        lens={
            layer["layer"]: [
                [LensToken(token["text"], token["probability"]) for token in top]
                for top in layer["top"]
            ]
            for layer in lens["layers"]
        },
        circuit=None if contrast is None else _circuit(client, prompt, contrast, patterns),
        saliency=_saliency(client, prompt, contrast, lens),
    )


def _saliency(
    client: LMStudioNeuroScopeClient,
    prompt: str,
    contrast: Contrast | None,
    lens: api.LogitLens,
) -> Saliency | None:
    """How much each token matters to the contrast, or else to the likeliest next token."""
    target: api.GradientTarget
    if contrast is None:
        likeliest = lens["layers"][-1]["top"][-1][0]
        target = {"kind": "log_probability", "tokens": [likeliest["id"]]}
        words = f"the log probability of {likeliest['text']!r}, the likeliest next token"
    else:
        target = {
            "kind": "logit_difference",
            "tokens": [contrast.answer],
            "against": [contrast.distractor],
        }
        words = f"the logit of {contrast.answer!r} less that of {contrast.distractor!r}"
    try:
        found = client.gradients(target, prompt)["saliency"]
    except LMStudioError as error:
        if error.kind != UNSUPPORTED:
            raise
        return None
    return Saliency(words, found["gradient_x_input"], found["norm"])


def _circuit(
    client: LMStudioNeuroScopeClient,
    prompt: str,
    contrast: Contrast,
    patterns: dict[int, np.ndarray],
) -> Circuit:
    task: dict[str, Any] = {
        "clean": prompt,
        "corrupted": contrast.corrupted,
        "answer": contrast.answer,
        "distractor": contrast.distractor,
        "component": "head_output",
    }
    swept = client.patch_circuit(**task, method="activation_patching")
    placed = client.patch_circuit(**task, method="attribution_patching", positions="each")
    layers = swept["layers"] or []
    effects = from_record(swept["effects"], {})
    by_position = from_record(placed["effects"], {})
    order = np.argsort(-np.abs(effects), axis=None, kind="stable")[:HEADS_SHOWN]
    heads = []
    for row, head in zip(*np.unravel_index(order, effects.shape), strict=True):
        layer = layers[row]
        position = int(np.abs(by_position[row, head]).argmax())
        looked_at = patterns[layer][head, position]
        heads.append(
            CircuitHead(
                layer=layer,
                head=int(head),
                effect=float(effects[row, head]),
                position=position,
                source=int(looked_at.argmax()),
                attention=float(looked_at.max()),
            )
        )
    return Circuit(
        corrupted=client.tokenize(contrast.corrupted)["texts"],
        answer=contrast.answer,
        distractor=contrast.distractor,
        clean_score=swept["clean_score"],
        corrupted_score=swept["corrupted_score"],
        heads=heads,
        **_edges(client, task),
    )


def _edges(client: LMStudioNeuroScopeClient, task: dict[str, Any]) -> dict[str, Any]:
    """The strongest edges, and how much they restore by themselves beside random ones."""
    pair = {name: value for name, value in task.items() if name != "component"}
    try:
        found = client.score_edges(**pair, top_n=EDGES_SHOWN)["edges"]
    except LMStudioError as error:
        if error.kind != UNSUPPORTED:
            raise
        return {"edges": [], "faithfulness": 0.0, "random_faithfulness": 0.0}
    ranking: list[api.EdgeSpec] = [
        {"source": each["source"], "destination": each["destination"]} for each in found
    ]
    curve = client.edge_faithfulness(**pair, edges=ranking, sizes=[len(ranking)], random=1)
    return {
        "edges": [CircuitEdge(**each) for each in found],
        "faithfulness": curve["faithfulness"][0],
        "random_faithfulness": curve["random_faithfulness"][0][0],
    }
