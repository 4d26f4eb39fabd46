"""Hooks that stay: registered once, they capture on every later run until they are removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from engine.captures.hooks import HookSpec, ResolvedHook, check_distinct, resolve_hooks
from engine.captures.records import Activations, CapturedActivation
from engine.errors import UnknownHookError
from engine.structure.resolver import Structure


@dataclass(eq=False)
class ActivationHook:
    """What was registered under one id: its hooks, one a layer, and what they captured."""

    hook_id: str
    resolved: tuple[ResolvedHook, ...]
    captured: list[CapturedActivation] = field(default_factory=list)


class ActivationHookManager:
    """The registered hooks of one model, resolved when they are registered.

    Threads may register and remove hooks at any time; a run has those of its beginning.
    """

    def __init__(self, structure: Structure):
        self.structure = structure
        self._hooks: dict[str, ActivationHook] = {}
        self._lock = Lock()

    @property
    def hooks(self) -> Mapping[str, ActivationHook]:
        """What is registered, by id, as of now."""
        with self._lock:
            return dict(self._hooks)

    @property
    def resolved(self) -> tuple[ResolvedHook, ...]:
        """The registered hooks, one a layer."""
        return tuple(hook for each in self.hooks.values() for hook in each.resolved)

    def register(self, spec: HookSpec) -> str:
        """Register a specification; returns the id by which it is removed.

        That is its `hook_id` or its default id. Raises what `resolve_hooks` raises.
        """
        resolved = resolve_hooks([spec], self.structure)
        hook_id = spec.hook_id or spec.default_id(resolved)
        self._add([ActivationHook(hook_id, resolved)])
        return hook_id

    def register_each(self, specs: Sequence[HookSpec]) -> list[str]:
        """Register specifications, all of them or none; returns an id for each layer of each.

        Raises what `resolve_hooks` raises.
        """
        resolved = resolve_hooks(specs, self.structure)
        self._add([ActivationHook(hook.hook_id, (hook,)) for hook in resolved])
        return [hook.hook_id for hook in resolved]

    def _add(self, added: Sequence[ActivationHook]) -> None:
        with self._lock:
            there = (*self._hooks.values(), *added)
            check_distinct([hook for each in there for hook in each.resolved])
            self._hooks.update((each.hook_id, each) for each in added)

    def unregister(self, hook_id: str) -> None:
        """Remove a hook and what it captured. Raises UnknownHookError."""
        with self._lock:
            if hook_id not in self._hooks:
                known = ", ".join(self._hooks) or "none"
                raise UnknownHookError(f"no hook {hook_id!r} is registered; registered are {known}")
            del self._hooks[hook_id]

    def clear(self) -> list[str]:
        """Remove all hooks and what they captured; returns their ids."""
        with self._lock:
            removed = list(self._hooks)
            self._hooks.clear()
        return removed

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

    def hooks_for(self, specs: Sequence[HookSpec]) -> tuple[ResolvedHook, ...]:
        """The hooks of one run: those registered, and those asked for."""
        hooks = (*self.resolved, *resolve_hooks(specs, self.structure))
        check_distinct(hooks)
        return hooks
