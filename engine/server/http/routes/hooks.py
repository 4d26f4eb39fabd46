"""Hooks registered on a model: they capture on every later generation of their session until
removed. A session sees and removes its own alone."""

from engine.contract import schemas as s
from engine.errors import UnknownHookError
from engine.server.http.requests import session
from engine.server.http.specs import hook_entry, hook_specs
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def register(service: Service, request: s.RegisterHooksRequest) -> s.RegisteredHooks:
    """Register all of them or none; a wildcard becomes one hook a layer."""
    model = service.models.get(request.model)
    specs = hook_specs(request.hooks, model)
    ids = model.register(session(), specs, service.settings.max_hooks)
    return s.RegisteredHooks(registered_hooks=ids)


def list_hooks(service: Service, model: str | None) -> s.HookList:
    return s.HookList(
        hooks=[
            s.HookEntry(hook_id=hook.hook_id, model=owner.id, spec=hook_entry(hook))
            for owner in _models(service, model)
            for hook in owner.hooks_of(session()).resolved
        ]
    )


def remove_all(service: Service, model: str | None) -> s.RemovedHooks:
    managers = [owner.hooks_of(session()) for owner in _models(service, model)]
    return s.RemovedHooks(removed_hooks=[each for hooks in managers for each in hooks.clear()])


def remove(service: Service, hook_id: str, model: str | None) -> s.RemovedHooks:
    """Remove the hook of this id from every model, or from the one named."""
    removed = []
    for owner in _models(service, model):
        hooks = owner.hooks_of(session())
        if hook_id in hooks.hooks:
            hooks.unregister(hook_id)
            removed.append(hook_id)
    if not removed:
        known = ", ".join(entry.hook_id for entry in list_hooks(service, model).hooks) or "none"
        raise UnknownHookError(f"No hook {hook_id!r} is registered; registered: {known}.")
    return s.RemovedHooks(removed_hooks=removed)


def _models(service: Service, model: str | None) -> list[LoadedModel]:
    return service.models.all() if model is None else [service.models.get(model)]
