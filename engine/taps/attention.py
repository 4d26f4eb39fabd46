"""The inside of attention: query, key, value, scores, pattern and each head's output.

The fused kernel produces the output while scores and pattern are computed beside it, in float32;
only if a visitor replaces one of them is the output computed from the pattern instead.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.errors import InterventionError
from engine.taps.class_swap import Scope
from engine.taps.key_order import KeyOrder
from engine.taps.points import Point


@dataclass(eq=False)
class CacheUpdate:
    """New keys and values on their way into the cache: where their replacement lasts.

    `readers` are later layers that attend to the same keys.
    """

    layer: int
    readers: set[int] = field(default_factory=set)

    @property
    def points(self) -> list[Point]:
        shared = [Point(layer, each) for layer in self.readers for each in KERNEL_COMPONENTS]
        return [Point(self.layer, C.KEY), Point(self.layer, C.VALUE), *shared]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        keys, values = args
        scope.cached_layer, scope.cache = self.layer, function.__self__
        key, value = self.points[:2]
        cached = function(scope.visit(key, keys), scope.visit(value, values), **kwargs)
        scope.caches.append((cached[0], scope.cache))
        return cached


@dataclass(eq=False)
class Kernel:
    """The call of the attention kernel in the attention `module` of a layer.

    `width` is that of the queries which it is given; `in_parts` says that these are the latent's,
    and that what is rotated of query and key comes beside them.
    """

    layer: int
    module: nn.Module
    width: int
    in_parts: bool = False

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, component) for component in KERNEL_COMPONENTS]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> mx.array:
        call = _bound(function, args, kwargs)
        queries, keys, values = call["queries"], call["keys"], call["values"]
        if queries.shape[0] != scope.batch:  # each query is a batch of its own, with its own keys
            return function(*args, **kwargs)
        if call["cache"] is None:
            call["cache"] = next((c for each, c in scope.caches if each is keys), None)
        if keys is values and "unembed_out" in self.module:
            return self._absorbed(scope, function, call)
        queries = self._visit(scope, C.QUERY, queries)
        if scope.cached_layer == self.layer:
            scope.cached_layer = None
        else:
            keys = self._visit_newest(scope, C.KEY, keys, call["cache"])
            values = self._visit_newest(scope, C.VALUE, values, call["cache"])
        call |= {"queries": queries, "keys": keys, "values": values}
        output = self._from_pattern(scope, call)
        if output is None:
            output = _run(function, call)
        return self._visit(scope, C.HEAD_OUTPUT, output)

    def _visit(self, scope: Scope, component: C, value: mx.array) -> mx.array:
        return scope.visit(Point(self.layer, component), value)

    def _visit_newest(self, scope: Scope, component: C, values: mx.array, cache) -> mx.array:
        """Visit what this pass adds to keys or values that were not seen on the way to a cache."""
        if not scope.wants(Point(self.layer, component)):
            return values
        order = KeyOrder.of(cache, values.shape[2], sum(scope.span))
        arranged = order.arranged(values, axis=2)
        old, newest = mx.split(arranged, [values.shape[2] - scope.span.length], axis=2)
        answer = self._visit(scope, component, newest)
        if answer is newest:
            return values
        return order.disarranged(mx.concatenate([old, answer], axis=2), axis=2)

    def _from_pattern(self, scope: Scope, call: dict) -> mx.array | None:
        """Visit scores and pattern; the output that follows if one of them was replaced."""
        wanted = (Point(self.layer, C.ATTENTION_SCORES), Point(self.layer, C.ATTENTION_PATTERN))
        if not any(scope.wants(point) for point in wanted):
            return None
        order = KeyOrder.of(call["cache"], _length(call["keys"]), sum(scope.span))
        keys, values = (_dequantised(call[name], call["cache"]) for name in ("keys", "values"))
        mask = call["mask"]
        scores = masked_scores(
            call["queries"],
            order.arranged(keys, axis=2),
            call["scale"],
            mask if mask is None or isinstance(mask, str) else order.arranged(mask, axis=-1),
        )
        shown = order.padded(scores, -mx.inf)
        answer = self._visit(scope, C.ATTENTION_SCORES, shown)
        replaced = answer is not shown
        pattern = softmax(order.unpadded(answer) if replaced else scores, call["sinks"])
        shown = order.padded(pattern, 0)
        answer = self._visit(scope, C.ATTENTION_PATTERN, shown)
        if answer is shown and not replaced:
            return None
        pattern = order.unpadded(answer)
        values = order.arranged(values, axis=2).astype(mx.float32)
        return weighted_values(pattern, values).astype(call["queries"].dtype)

    def _absorbed(self, scope: Scope, function, call: dict) -> mx.array:
        """Latent attention of one token, which takes its projections out of the kernel.

        The kernel sees the latent in place of keys and values. The hook points mean the same as
        in a longer pass, so the projections are applied for whoever looks.
        """
        project = self.module.embed_q, self.module.unembed_out

        def newest(keys: mx.array) -> mx.array:
            order = KeyOrder.of(call["cache"], keys.shape[2], sum(scope.span))
            return order.arranged(keys, axis=2)[:, :, -scope.span.length :]

        def key() -> mx.array:
            unrotated = project[0](newest(call["keys"]), transpose=False)
            if not self.in_parts:
                return unrotated
            rotated = newest(cast(mx.array, scope.rotated_keys))
            shape = (*unrotated.shape[:-1], rotated.shape[-1])
            return mx.concatenate([unrotated, mx.broadcast_to(rotated, shape)], axis=-1)

        self._look(scope, C.KEY, key)
        self._look(scope, C.VALUE, lambda: project[1](newest(call["keys"])))
        if self._from_pattern(scope, call) is not None:
            raise InterventionError("the pattern of latent attention cannot be replaced")
        output = _run(function, call)
        self._look(scope, C.HEAD_OUTPUT, lambda: project[1](output))
        return output

    def _look(self, scope: Scope, component: C, compute) -> None:
        point = Point(self.layer, component)
        if scope.wants(point):
            value = compute()
            if scope.visit(point, value) is not value:
                raise InterventionError(
                    f"{component} of layer {self.layer} is never computed for a single token: "
                    "this model's attention works on the latent"
                )


KERNEL_COMPONENTS = (
    C.QUERY,
    C.KEY,
    C.VALUE,
    C.ATTENTION_SCORES,
    C.ATTENTION_PATTERN,
    C.HEAD_OUTPUT,
)


def _bound(function, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The kernel's arguments by name, whether mlx-lm's wrapper is called or MLX's own kernel."""
    call = {"cache": None, "mask": None, "sinks": None}
    if inspect.isfunction(function):
        return call | inspect.signature(function).bind(*args, **kwargs).arguments
    return call | dict(zip(("queries", "keys", "values"), args, strict=False)) | kwargs


def _run(function, call: dict[str, Any]) -> mx.array:
    if inspect.isfunction(function):
        known = inspect.signature(function).parameters
        return function(**{name: value for name, value in call.items() if name in known})
    named = {name: value for name, value in call.items() if name in ("scale", "mask", "sinks")}
    return function(call["queries"], call["keys"], call["values"], **named)


def _length(keys: mx.array | list[mx.array]) -> int:
    return (keys if isinstance(keys, mx.array) else keys[0]).shape[2]


def _dequantised(keys: mx.array | list[mx.array], cache: Any) -> mx.array:
    if isinstance(keys, mx.array):
        return keys
    packed, scales, biases = keys
    return mx.dequantize(packed, scales, biases, group_size=cache.group_size, bits=cache.bits)


def masked_scores(queries: mx.array, keys: mx.array, scale: float, mask) -> mx.array:
    """Scores before softmax in float32, ``[batch, heads, query, key]``; -inf where masked."""
    queries, keys = queries.astype(mx.float32) * scale, keys.astype(mx.float32)
    scores = _by_group(queries, keys.swapaxes(-1, -2))
    if mask is None:
        return scores
    if isinstance(mask, str):
        length, total = scores.shape[-2:]
        mask = mx.arange(total - length, total)[:, None] >= mx.arange(total)[None]
    if mask.dtype == mx.bool_:
        return mx.where(mask, scores, -mx.inf)
    return mx.where(mask <= mx.finfo(mask.dtype).min, -mx.inf, scores + mask)


def weighted_values(pattern: mx.array, values: mx.array) -> mx.array:
    """Each head's mean of the values under its pattern, ``[batch, heads, query, head_dim]``."""
    return _by_group(pattern, values)


def _by_group(left: mx.array, right: mx.array) -> mx.array:
    """Matrix product of each query head with the key head that its group shares."""
    batch, heads, *rows = left.shape
    kv_heads = right.shape[1]
    grouped = left.reshape(batch, kv_heads, heads // kv_heads, *rows) @ right[:, :, None]
    return grouped.flatten(1, 2)


def softmax(scores: mx.array, sinks: mx.array | None) -> mx.array:
    """Rows that sum to 1; with sinks (one logit a head) the sinks take their share."""
    if sinks is None:
        return mx.softmax(scores, axis=-1, precise=True)
    sinks = sinks.astype(scores.dtype).reshape(1, -1, 1, 1)
    column = mx.broadcast_to(sinks, (*scores.shape[:-1], 1))
    return mx.softmax(mx.concatenate([column, scores], axis=-1), axis=-1, precise=True)[..., 1:]
