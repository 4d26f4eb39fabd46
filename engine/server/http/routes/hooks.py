"""Hooks registered on a model: they capture on every later generation until removed."""

from engine.captures.hooks import resolve_hooks
from engine.contract import schemas as s
from engine.errors import UnknownHookError
from engine.server.http.specs import hook_entry, hook_specs, one_a_layer
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def register(service: Service, request: s.RegisterHooksRequest) -> s.RegisteredHooks:
    """Register all of them or none; a wildcard becomes one hook a layer."""
    model = service.models.get(request.model)
    structure = model.kit.structure
    added = one_a_layer(hook_specs(request.hooks), structure)
    with model.lock:
        resolve_hooks((*model.hooks.values(), *added), structure)
        model.hooks.update((hook.hook_id, hook) for hook in added)
    return s.RegisteredHooks(registered_hooks=[hook.hook_id for hook in added])


def list_hooks(service: Service, model: str | None) -> s.HookList:
    return s.HookList(
        hooks=[
            s.HookEntry(hook_id=hook_id, model=owner.id, spec=hook_entry(spec))
            for owner in _models(service, model)
            for hook_id, spec in owner.hooks.items()
        ]
    )


def remove_all(service: Service, model: str | None) -> s.RemovedHooks:
    removed = []
    for owner in _models(service, model):
        with owner.lock:
            removed += owner.hooks
            owner.hooks.clear()
    return s.RemovedHooks(removed_hooks=removed)


def remove(service: Service, hook_id: str, model: str | None) -> s.RemovedHooks:
    """Remove the hook of this id from every model, or from the one named."""
    removed = []
    for owner in _models(service, model):
        with owner.lock:
            if owner.hooks.pop(hook_id, None):
                removed.append(hook_id)
    if not removed:
        known = ", ".join(entry.hook_id for entry in list_hooks(service, model).hooks) or "none"
        raise UnknownHookError(f"No hook {hook_id!r} is registered; registered: {known}.")
    return s.RemovedHooks(removed_hooks=removed)


def _models(service: Service, model: str | None) -> list[LoadedModel]:
    return service.models.all() if model is None else [service.models.get(model)]
