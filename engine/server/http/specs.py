"""What a request asks to look at and to change, from the contract's words to the engine's."""

import re
from collections.abc import Iterable
from typing import cast

import numpy as np

from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.captures.sparse import SparseActivation
from engine.contract.schemas import Dtype, HookSpec, InterventionSpec
from engine.features.bound import Encoding
from engine.features.hooks import FeatureHookSpec
from engine.features.interventions import FeatureIntervention
from engine.interventions.intervention import AnyIntervention, Intervention
from engine.server.errors import ImpossibleError
from engine.server.state.captures import AnyCapture, CaptureStore
from engine.server.state.models import LoadedModel
from engine.server.wire.records import numbers, tensor_array
from engine.taps.position_sets import Positions, PositionSet

LAYER = re.compile(r"(?:[A-Za-z_][\w.]*\.)?([0-9]{1,9})")


def hook_specs(
    hooks: Iterable[HookSpec], model: LoadedModel
) -> tuple[ActivationHookSpec | FeatureHookSpec, ...]:
    """Each hook, on a component or on a feature set that is loaded beside the model."""
    return tuple(
        _component_hook(hook) if hook.feature_set is None else _feature_hook(hook, model)
        for hook in hooks
    )


def _component_hook(hook: HookSpec) -> ActivationHookSpec:
    if hook.features is not None:
        raise ImpossibleError("features: they go with feature_set", "features")
    return ActivationHookSpec(
        layer_name=cast(str, hook.layer_name),
        component=hook.component,
        hook_id=hook.hook_id,
        capture_input=_given(hook, "capture_input"),
        capture_output=_given(hook, "capture_output"),
        positions=positions(hook.positions),
        heads=_tuple(hook.heads),
        dtype=hook.dtype,
        exclude_special_tokens=hook.exclude_special_tokens,
    )


def _feature_hook(hook: HookSpec, model: LoadedModel) -> FeatureHookSpec:
    _check_alone(hook, ("component", "heads", "capture_input", "capture_output"))
    if hook.dtype != "float32":
        raise ImpossibleError("dtype: features are float32", "dtype")
    return FeatureHookSpec(
        bound=model.feature_sets.get(cast(str, hook.feature_set)),
        features=_tuple(hook.features),
        layer=_layer(hook.layer_name),
        hook_id=hook.hook_id,
        positions=positions(hook.positions),
        exclude_special_tokens=hook.exclude_special_tokens,
    )


def _check_alone(spec: HookSpec | InterventionSpec, names: Iterable[str]) -> None:
    """Raise ImpossibleError for a field that means nothing beside a feature set."""
    for name in names:
        if name in spec.model_fields_set and getattr(spec, name) is not None:
            raise ImpossibleError(f"{name}: it does not go with feature_set", name)


def _layer(name: str | None) -> int | None:
    """The layer that a name means, of a cross-layer transcoder."""
    if name is None:
        return None
    if not (match := LAYER.fullmatch(name)):
        raise ImpossibleError(f"layer_name: {name!r} names no one layer, such as `5`", "layer_name")
    return int(match[1])


def _given(hook: HookSpec, side: str) -> bool | None:
    """What a hook says of a side; None if it leaves it to its names."""
    return getattr(hook, side) if side in hook.model_fields_set else None


def hook_entry(hook: ResolvedHook) -> HookSpec:
    """A registered hook in the contract's words, which register the same hook again."""
    sides = [is_input for _, is_input in hook.points]
    if isinstance(hook.encode, Encoding):
        return HookSpec(
            layer_name=None if hook.layer is None else str(hook.layer),
            feature_set=hook.encode.bound.set_id,
            features=_list(hook.encode.features),
            hook_id=hook.hook_id,
            positions=hook.positions if isinstance(hook.positions, str) else _list(hook.positions),
            exclude_special_tokens=hook.exclude_special_tokens,
        )
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
    specs: Iterable[InterventionSpec], captures: CaptureStore, model: LoadedModel
) -> tuple[AnyIntervention, ...]:
    """Each with its tensor: the value that was sent, or the kept activation it names."""
    return tuple(
        _component_intervention(spec, f"interventions.{index}", captures)
        if spec.feature_set is None
        else _feature_intervention(spec, f"interventions.{index}", model)
        for index, spec in enumerate(specs)
    )


def _component_intervention(
    spec: InterventionSpec, param: str, captures: CaptureStore
) -> Intervention:
    if spec.features is not None:
        raise ImpossibleError(f"{param}.features: they go with feature_set", param)
    return Intervention(
        layer_name=cast(str, spec.layer_name),
        component=spec.component,
        operation=spec.operation,
        heads=_tuple(spec.heads),
        positions=positions(spec.positions),
        factor=spec.factor,
        value=_value(spec, param, captures),
        scale=spec.scale,
        seed=spec.seed,
    )


def _feature_intervention(
    spec: InterventionSpec, param: str, model: LoadedModel
) -> FeatureIntervention:
    _check_alone(spec, ("component", "heads", "capture_id", "hook_id", "scale", "seed"))
    return FeatureIntervention(
        bound=model.feature_sets.get(cast(str, spec.feature_set)),
        operation=spec.operation,
        features=tuple(spec.features or ()),
        layer=_layer(spec.layer_name),
        positions=positions(spec.positions),
        factor=spec.factor,
        value=tensor_array(spec.value, f"{param}.value") if spec.value else None,
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
    if isinstance(records[-1], SparseActivation):
        raise ImpossibleError(f"{param}: {hook_id!r} are features, not a component's value", param)
    return numbers(records[-1].data, records[-1].dtype)


def positions(asked: PositionSet | list[int] | None) -> Positions:
    """Positions in the engine's words."""
    return tuple(asked) if isinstance(asked, list) else asked


def _tuple(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _list(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)
