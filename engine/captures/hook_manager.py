"""Hooks that stay: registered once, they capture on every later run until they are removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engine.captures.hooks import ActivationHookSpec, ResolvedHook, check_distinct, resolve_hooks
from engine.captures.records import Activations, CapturedActivation
from engine.errors import UnknownHookError
from engine.structure.resolver import Structure


@dataclass(eq=False)
class ActivationHook:
    """One registered specification: its hooks, one a layer, and what they captured."""

    hook_id: str
    spec: ActivationHookSpec
    resolved: tuple[ResolvedHook, ...]
    captured: list[CapturedActivation] = field(default_factory=list)


class ActivationHookManager:
    """The registered hooks of one model."""

    def __init__(self, structure: Structure):
        self.structure = structure
        self.hooks: dict[str, ActivationHook] = {}

    @property
    def resolved(self) -> tuple[ResolvedHook, ...]:
        """The registered hooks, one a layer."""
        return tuple(hook for each in self.hooks.values() for hook in each.resolved)

    def register(self, spec: ActivationHookSpec) -> str:
        """Register a specification; returns the id by which it is removed.

        That is its `hook_id`, or the default id of its only layer, or of several layers a name
        like ``0-11_residual``. Raises what `resolve_hooks` raises.
        """
        resolved = resolve_hooks([spec], self.structure)
        check_distinct([*self.resolved, *resolved])
        several = f"{spec.layer_name}_{resolved[0].component}"
        hook_id = spec.hook_id or (resolved[0].hook_id if len(resolved) == 1 else several)
        self.hooks[hook_id] = ActivationHook(hook_id, spec, resolved)
        return hook_id

    def register_by_layer(self, specs: Sequence[ActivationHookSpec]) -> list[str]:
        """Register specifications, all or none, each as one hook a layer; returns their ids."""
        hooks = [
            ActivationHook(
                hook.hook_id,
                replace(spec, layer_name=hook.layer_name, hook_id=hook.hook_id),
                (hook,),
            )
            for spec in specs
            for hook in resolve_hooks([spec], self.structure)
        ]
        check_distinct([*self.resolved, *(hook for each in hooks for hook in each.resolved)])
        self.hooks.update((hook.hook_id, hook) for hook in hooks)
        return [hook.hook_id for hook in hooks]

    def unregister(self, hook_id: str) -> None:
        """Remove a hook and what it captured. Raises UnknownHookError."""
        if hook_id not in self.hooks:
            known = ", ".join(self.hooks) or "none"
            raise UnknownHookError(f"no hook {hook_id!r} is registered; registered are {known}")
        del self.hooks[hook_id]

    def clear(self) -> None:
        """Remove all hooks and what they captured."""
        self.hooks.clear()

    def collect(self, activations: Activations) -> None:
        """Keep what the registered hooks captured in one step of a run."""
        for each in self.hooks.values():
            for hook in each.resolved:
                each.captured.extend(activations.get(hook.hook_id, ()))

    def captured(self) -> Activations:
        """All that was captured and not cleared, by the ids of hooks, one a layer."""
        activations: Activations = {}
        for each in self.hooks.values():
            for record in each.captured:
                activations.setdefault(record.hook_id, []).append(record)
        return activations

    def clear_captured(self) -> None:
        """Forget what was captured; the hooks stay."""
        for each in self.hooks.values():
            each.captured.clear()

    def hooks_for(self, specs: Sequence[ActivationHookSpec]) -> tuple[ResolvedHook, ...]:
        """The hooks of one run: those registered, and those asked for."""
        hooks = (*self.resolved, *resolve_hooks(specs, self.structure))
        check_distinct(hooks)
        return hooks
