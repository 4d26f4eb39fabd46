"""What the tensors of a prompt's pass show, each a table of numbers."""

from typing import Any

import numpy as np

from bridge.demo.analysis import Finding
from bridge.demo.study import Seen

TOP = 5


def stream_norms(seen: Seen) -> Finding:
    """How the residual stream grows, and how much each layer turns it."""
    stream = seen.layers("residual")
    rows = []
    before = seen.first["embedding", None][-1]
    for layer, values in stream.items():
        after = values[-1]
        cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
        rows.append(
            {"layer": layer, "norm": _number(np.linalg.norm(after)), "cosine": _number(cosine)}
        )
        before = after
    return Finding(
        name="residual stream",
        description="Euclidean norm of the residual stream after each layer, at the prompt's last "
        "position, and its cosine with the stream before that layer.",
        rows=rows,
    )


def contributions(seen: Seen) -> Finding:
    """How large what attention and MLP add is beside the stream that they add it to."""
    stream, attention, mlp = (seen.layers(name) for name in ("residual", "attention", "mlp"))
    return Finding(
        name="contributions",
        description="Euclidean norm of what attention and the MLP of each layer add at the "
        "prompt's last position, divided by that of the residual stream after the layer.",
        rows=[
            {
                "layer": layer,
                "attention": _ratio(attention[layer], values),
                "mlp": _ratio(mlp[layer], values),
            }
            for layer, values in stream.items()
        ],
    )


def next_tokens(seen: Seen) -> Finding:
    """What each layer would predict after the prompt."""
    lens = seen.client.logit_lens(seen.prompt, top_k=1)
    likeliest = {layer["layer"]: layer["top"][-1][0] for layer in lens["layers"]}
    return Finding(
        name="logit lens",
        description="The likeliest next token after the prompt, and its probability, read from "
        "the residual stream after each layer.",
        rows=[
            {"layer": layer, "token": top["text"], "probability": _number(top["probability"])}
            for layer, top in likeliest.items()
        ],
    )


def settled(seen: Seen) -> Finding:
    """From which layer on the prediction stays what it is at the end."""
    lens = seen.client.logit_lens(seen.prompt, top_k=1)
    tokens = [layer["top"][-1][0]["text"] for layer in lens["layers"]]
    first = max((i + 1 for i, token in enumerate(tokens) if token != tokens[-1]), default=0)
    return Finding(
        name="settled",
        description="The layer from which on the likeliest next token stays what the model says.",
        rows=[{"token": tokens[-1], "from layer": lens["layers"][first]["layer"]}],
    )


def head_kinds(seen: Seen) -> Finding:
    """Which heads look at the token before, at the first one, and after an earlier equal one."""
    texts = seen.texts
    query = np.arange(1, len(texts))
    pairs = [
        (q, k) for q in query for k in range(1, q) if texts[k - 1] == texts[q]
    ]  # the token after an earlier occurrence of the same
    kinds = {
        "previous token": lambda p: p[:, query, query - 1].mean(axis=1),
        "first token": lambda p: p[:, query, 0].mean(axis=1),
    }
    if pairs:
        at = np.array(pairs)
        kinds["induction"] = lambda p: p[:, at[:, 0], at[:, 1]].sum(axis=1) / len(set(at[:, 0]))
    rows = []
    for kind, score in kinds.items():
        scores = {
            layer: score(pattern) for layer, pattern in seen.layers("attention_pattern").items()
        }
        flat = [(float(v), layer, head) for layer, s in scores.items() for head, v in enumerate(s)]
        rows += [
            {"kind": kind, "head": f"L{layer}H{head}", "score": _number(value)}
            for value, layer, head in sorted(flat, reverse=True)[:TOP]
        ]
    return Finding(
        name="kinds of heads",
        description="The heads with the largest mean attention to the previous token, to the "
        "first one, and to the token after an earlier occurrence of the same token (induction), "
        "over the positions where there is one.",
        rows=rows,
    )


def attention_entropy(seen: Seen) -> Finding:
    """How widely each layer's heads spread their attention from the last position."""
    rows = []
    for layer, pattern in seen.layers("attention_pattern").items():
        row = pattern[:, -1].astype(np.float64)
        bits = -(row * np.log2(np.where(row > 0, row, 1))).sum(axis=-1)
        rows.append(
            {
                "layer": layer,
                "least": _number(bits.min()),
                "mean": _number(bits.mean()),
                "most": _number(bits.max()),
            }
        )
    return Finding(
        name="entropy of attention",
        description="The entropy of each head's attention from the prompt's last position, in "
        "bits: the least, the mean and the most of a layer's heads.",
        rows=rows,
    )


def neurons(seen: Seen) -> Finding:
    """How few neurons make up what an MLP does, the most active one, and what it promotes."""
    rows = []
    for layer, hidden in seen.layers("mlp_hidden").items():
        squares = np.sort(hidden[-1].astype(np.float64) ** 2)[::-1]
        half = int(np.searchsorted(squares.cumsum(), squares.sum() / 2)) + 1
        neuron = int(np.abs(hidden[-1]).argmax())
        promoted = seen.client.promoted_tokens(neuron, layer, top_k=1)
        value = float(hidden[-1][neuron])
        effect = promoted["promoted" if value > 0 else "suppressed"][0]["text"]
        rows.append(
            {
                "layer": layer,
                "half of the norm": half,
                "neurons": squares.size,
                "most active": neuron,
                "activation": _number(value),
                "promotes": effect,
            }
        )
    return Finding(
        name="neurons",
        description="At the prompt's last position: how many neurons make up half of the squared "
        "norm, of how many; the most active one with its activation, and the token that it "
        "promotes most, by its output weights.",
        rows=rows,
    )


def _ratio(added: np.ndarray, stream: np.ndarray) -> float:
    return _number(np.linalg.norm(added[-1]) / np.linalg.norm(stream[-1]))


def _number(value: float | np.floating[Any]) -> float:
    return float(f"{value:.6g}")
