"""Run by `mlx.launch` on each rank: tiny models spread over the ranks, beside the same model whole.

The first rank prints one line of JSON for each architecture: the largest differences, or what was
refused, by what was compared.
"""

import json
import sys
from collections.abc import Callable, Sequence

import mlx.core as mx
import numpy as np
from subjects import TOKENS, everywhere, is_ordered
from tiny import Numbers

import engine  # noqa: F401  (puts a fast BLAS in place before MLX)
from benchmarks.architectures import ARCHITECTURES, tiny_model
from engine.analysis.gradients import gradients
from engine.captures.hooks import ActivationHookSpec
from engine.captures.records import Activations
from engine.components import ComponentType as C
from engine.errors import EngineError
from engine.interventions.intervention import Intervention
from engine.parallel.ranks import joined
from engine.parallel.tensor import TensorParallel
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve
from engine.taps.points import Point

CHANGED = [C.QUERY, C.KEY, C.VALUE, C.ATTENTION_PATTERN, C.HEAD_OUTPUT, C.MLP_HIDDEN, C.MLP]
CHANGED += [C.EXPERT_OUTPUT, C.RESIDUAL]
DIFFERENTIATED = [C.RESIDUAL, C.MLP, C.ATTENTION, C.HEAD_OUTPUT, C.QUERY, C.MLP_HIDDEN]


def kit_of(name: str, model, structure) -> ModelKit:
    return ModelKit(model, Numbers(), {}, name, None, structure)


def compared(name: str) -> dict[str, float | str]:
    """What is different between the spread model and the whole one."""
    whole_model, model = tiny_model(name), tiny_model(name)
    whole = kit_of(name, whole_model, resolve(whole_model))
    spread = TensorParallel(joined())
    spread.split(model)
    kit = kit_of(name, model, spread.structure(model))
    found: dict[str, float | str] = {
        "components": float(kit.info.components != whole.info.components)
    }

    def both(what: str, run: Callable[[ModelKit], Sequence[np.ndarray]]) -> None:
        try:
            wanted = run(whole)
        except (EngineError, ValueError):
            return  # nor does one process
        try:
            got = run(kit)
        except EngineError as error:
            found[what] = f"{type(error).__name__}: {error}"
            return
        assert len(got) == len(wanted), f"{what}: {len(got)} for {len(wanted)}"
        pairs = [(a, b) for a, b in zip(got, wanted, strict=True)]
        found[what] = max((difference(*pair) for pair in pairs), default=0.0)

    hooks = everywhere(whole.structure)
    both("captures", lambda kit: ordered(kit, forward(kit, [TOKENS, TOKENS[::-1]], hooks)))
    both("generation", lambda kit: generated(kit, hooks))
    some = [
        ActivationHookSpec("*", each, positions=(1, 4), heads=(1,), hook_id=f"some_{each}")
        for each in (C.QUERY, C.ATTENTION_PATTERN, C.HEAD_OUTPUT)
        if each in whole.info.components
    ]
    both("parts", lambda kit: ordered(kit, forward(kit, [TOKENS], some)))
    for component in CHANGED:
        if component in whole.info.components:
            layer = next(p.layer for p in whole.structure.shapes if p.component is component)
            change = Intervention(str(layer), component, "scaling", factor=0.5, positions=(2, 5))
            both(f"{component} changed", lambda kit, c=change: changed(kit, [c]))
    both("gradients", gradients_of)
    return found


def ordered(kit: ModelKit, result) -> list[np.ndarray]:
    return [result.logits, *numbers(kit, result.activations)]


def numbers(kit: ModelKit, activations: Activations) -> list[np.ndarray]:
    """What was captured, but for experts, which may come in any order."""
    return [
        record.data
        for hook_id in sorted(activations)
        for record in activations[hook_id]
        if is_ordered(kit.structure, Point(record.layer, record.component))
    ]


def generated(kit: ModelKit, hooks: Sequence[ActivationHookSpec]) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    steps = create_generator_with_activations(kit, TOKENS, hooks, max_tokens=3)
    for step, activations in steps:
        found += [np.array(step.token), *numbers(kit, activations)]
    return found


def changed(kit: ModelKit, changes: Sequence[Intervention]) -> list[np.ndarray]:
    return [forward(kit, [TOKENS], [], changes, logits="all").logits]


def gradients_of(kit: ModelKit) -> list[np.ndarray]:
    points = [
        next(p for p in kit.structure.shapes if p.component is each and not p.is_input)
        for each in DIFFERENTIATED
        if each in kit.info.components
    ]
    found = gradients(kit, mx.array([TOKENS]), points, lambda logits: logits[0, -1, 7])
    return [np.array(found.gradients[point]) for point in points]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest, in parts of the larger of one and the largest number of the two."""
    assert one.shape == other.shape, f"{one.shape} for {other.shape}"
    one, other = np.nan_to_num(one.astype(float)), np.nan_to_num(other.astype(float))
    most = max(1.0, np.abs(np.where(np.abs(other) < 1e30, other, 0)).max(initial=0))
    return float(np.abs(one - other).max(initial=0) / most)


def main(*names: str) -> None:
    ranks = joined()
    for name in names or ARCHITECTURES:
        if not hasattr(tiny_model(name), "shard"):
            continue
        try:
            found = compared(name)
        except EngineError as error:
            found = {"refused": f"{type(error).__name__}: {error}"}
        if ranks.rank == 0:
            print(json.dumps({"architecture": name, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
