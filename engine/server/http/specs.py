"""What a request asks to look at and to change, from the contract's words to the engine's."""

from collections.abc import Iterable
from typing import cast

import numpy as np

from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.contract.schemas import Dtype, HookSpec, InterventionSpec
from engine.interventions.intervention import Intervention
from engine.server.errors import ImpossibleError
from engine.server.state.captures import AnyCapture, CaptureStore
from engine.server.wire.records import numbers, tensor_array
from engine.taps.position_sets import Positions, PositionSet


def hook_specs(hooks: Iterable[HookSpec]) -> tuple[ActivationHookSpec, ...]:
    return tuple(
        ActivationHookSpec(
            layer_name=hook.layer_name,
            component=hook.component,
            hook_id=hook.hook_id,
            capture_input=_given(hook, "capture_input"),
            capture_output=_given(hook, "capture_output"),
            positions=positions(hook.positions),
            heads=_tuple(hook.heads),
            dtype=hook.dtype,
            exclude_special_tokens=hook.exclude_special_tokens,
        )
        for hook in hooks
    )


def _given(hook: HookSpec, side: str) -> bool | None:
    """What a hook says of a side; None if it leaves it to its names."""
    return getattr(hook, side) if side in hook.model_fields_set else None


def hook_entry(hook: ResolvedHook) -> HookSpec:
    """A registered hook in the contract's words, which register the same hook again."""
    sides = [is_input for _, is_input in hook.points]
    return HookSpec(
        layer_name=hook.layer_name,
        component=hook.component,
        hook_id=hook.hook_id,
        capture_input=True in sides,
        capture_output=False in sides,
        positions=hook.positions if isinstance(hook.positions, str) else _list(hook.positions),
        heads=_list(hook.heads),
        dtype=cast(Dtype, hook.dtype),
        exclude_special_tokens=hook.exclude_special_tokens,
    )


def interventions(
    specs: Iterable[InterventionSpec], captures: CaptureStore
) -> tuple[Intervention, ...]:
    """Each with its tensor: the value that was sent, or the kept activation it names."""
    return tuple(
        Intervention(
            layer_name=spec.layer_name,
            component=spec.component,
            operation=spec.operation,
            heads=_tuple(spec.heads),
            positions=positions(spec.positions),
            factor=spec.factor,
            value=_value(spec, f"interventions.{index}", captures),
            scale=spec.scale,
            seed=spec.seed,
        )
        for index, spec in enumerate(specs)
    )


def _value(spec: InterventionSpec, param: str, captures: CaptureStore) -> np.ndarray | None:
    if spec.operation == "patching":
        if spec.capture_id is None or spec.hook_id is None:
            raise ImpossibleError(f"{param}: patching needs capture_id and hook_id", param)
        if spec.value is not None:
            raise ImpossibleError(f"{param}: patching has no parameter value", param)
        return _kept_activation(captures.get(spec.capture_id), spec.hook_id, spec.step, param)
    if spec.capture_id is not None or spec.hook_id is not None:
        raise ImpossibleError(f"{param}: only patching reads a capture", param)
    return tensor_array(spec.value, f"{param}.value") if spec.value else None


def _kept_activation(capture: AnyCapture, hook_id: str, step: int, param: str) -> np.ndarray:
    records = list(capture.records(hook_id, step))
    if not records:
        kept = [record for each in capture.manifest().values() for record in each]
        known = ", ".join(f"{r['hook_id']} step {r['step']}" for r in kept) or "nothing"
        raise ImpossibleError(
            f"{param}: {capture.capture_id} contains no {hook_id!r} at step {step}; it has {known}",
            param,
        )
    return numbers(records[-1].data, records[-1].dtype)


def positions(asked: PositionSet | list[int] | None) -> Positions:
    """Positions in the engine's words."""
    return tuple(asked) if isinstance(asked, list) else asked


def _tuple(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _list(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)
