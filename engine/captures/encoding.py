"""Records as their hooks want them: those of a value, or what is made of it."""

from collections.abc import Sequence

from engine.captures.hooks import ResolvedHook
from engine.captures.records import Activations


def encoded(activations: Activations, hooks: Sequence[ResolvedHook]) -> Activations:
    """The records of one step, encoded where a hook asks for it. For the thread that owns MLX."""
    encoders = {hook.hook_id: hook.encode for hook in hooks if hook.encode is not None}
    return {
        hook_id: [encode(record) for record in records]
        if (encode := encoders.get(hook_id))
        else records
        for hook_id, records in activations.items()
    }
