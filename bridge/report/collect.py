"""Looks at one prompt's pass through the model of a running engine."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.report.view import Circuit, CircuitHead, LensToken, View
from bridge.wire import from_record

HEADS_SHOWN = 12
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
    )


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
    )
