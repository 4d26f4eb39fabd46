"""The inside of attention: query, key, value, scores, pattern and each head's output."""

from types import FunctionType

import mlx.core as mx

from engine.components import ComponentType
from engine.points import Point

KERNEL = "scaled_dot_product_attention"


def attends(method: FunctionType) -> bool:
    """Whether a method calls the attention kernel."""
    return KERNEL in method.__code__.co_names


def tapped_globals(method: FunctionType, current_scope) -> dict:
    """What stands in for the globals of a method that attends."""
    kernel = method.__globals__[KERNEL]

    def scaled_dot_product_attention(queries, keys, values, cache, scale, mask, sinks=None):
        scope = current_scope()
        extra = {} if sinks is None else {"sinks": sinks}
        if scope is None or not scope.layers:
            return kernel(queries, keys, values, cache=cache, scale=scale, mask=mask, **extra)
        layer = scope.layers[-1]

        def visit(component, value):
            return scope.visit(Point(layer, component), value)

        queries = visit(ComponentType.QUERY, queries)
        seen_keys = visit(ComponentType.KEY, keys)
        seen_values = visit(ComponentType.VALUE, values)
        scores_point = Point(layer, ComponentType.ATTENTION_SCORES)
        pattern_point = Point(layer, ComponentType.ATTENTION_PATTERN)
        if scope.wants(scores_point) or scope.wants(pattern_point):
            scores = masked_scores(queries, seen_keys, scale, mask)
            scores = visit(ComponentType.ATTENTION_SCORES, scores)
            visit(ComponentType.ATTENTION_PATTERN, softmax(scores, sinks))
        output = kernel(
            queries, seen_keys, seen_values, cache=cache, scale=scale, mask=mask, **extra
        )
        return visit(ComponentType.HEAD_OUTPUT, output)

    return {KERNEL: scaled_dot_product_attention}


def masked_scores(queries: mx.array, keys: mx.array, scale: float, mask) -> mx.array:
    """Scores before softmax in float32, ``[batch, heads, query, key]``; -inf where masked."""
    batch, heads, length, width = queries.shape
    kv_heads = keys.shape[1]
    grouped = queries.astype(mx.float32).reshape(batch, kv_heads, heads // kv_heads, length, width)
    keys = keys.astype(mx.float32)[:, :, None]
    scores = ((grouped * scale) @ keys.swapaxes(-1, -2)).reshape(batch, heads, length, -1)
    if mask is None:
        return scores
    if isinstance(mask, str):
        total = scores.shape[-1]
        mask = mx.arange(total - length, total)[:, None] >= mx.arange(total)[None]
    if mask.dtype == mx.bool_:
        return mx.where(mask, scores, -mx.inf)
    return scores + mask


def softmax(scores: mx.array, sinks: mx.array | None) -> mx.array:
    """Rows that sum to 1; with sinks (one logit a head) the sinks take their share."""
    if sinks is None:
        return mx.softmax(scores, axis=-1, precise=True)
    column = mx.broadcast_to(
        sinks.astype(scores.dtype)[None, :, None, None], (*scores.shape[:-1], 1)
    )
    return mx.softmax(mx.concatenate([column, scores], axis=-1), axis=-1, precise=True)[..., 1:]
