"""The likeliest next tokens of a row of logits, as the contract's TopToken."""

from typing import Any

import numpy as np

from engine.server.state.models import LoadedModel


def top_tokens(model: LoadedModel, logits: np.ndarray, count: int) -> list[dict[str, Any]]:
    """At most `count` tokens, likeliest first, with probabilities among the whole vocabulary.

    A token whose logit is -inf, as of one that a model masks, is none of them.
    """
    logits = logits.astype(np.float64)
    count = min(count, logits.size)
    ids = np.sort(np.argpartition(-logits, count - 1)[:count])
    ids = ids[np.argsort(-logits[ids], kind="stable")]
    ids = ids[~np.isneginf(logits[ids])]
    weights = np.exp(logits - logits.max())
    probabilities = weights / weights.sum()
    return [
        {"id": token, "text": text, "logit": logits[token], "probability": probabilities[token]}
        for token, text in zip(ids.tolist(), model.token_texts(ids.tolist()), strict=True)
    ]


def effects(model: LoadedModel, logits: np.ndarray, ids: np.ndarray) -> list[dict[str, Any]]:
    """What is added to the logits of some tokens, as the contract has it."""
    texts = model.token_texts(ids.tolist())
    return [
        {"id": token, "text": text, "logit": logits[token]}
        for token, text in zip(ids.tolist(), texts, strict=True)
    ]
