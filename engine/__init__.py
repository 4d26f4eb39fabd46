"""The engine: everything that touches MLX, behind a minimal HTTP endpoint.

What a researcher's script uses:

    from engine import ActivationHookSpec, create_generator_with_activations, load_model, tokenize

    kit = load_model("smollm2")
    hooks = [ActivationHookSpec("model.layers.15", "residual")]
    tokens = tokenize(kit, "The capital of France is")
    for result, activations in create_generator_with_activations(kit, tokens, hooks, max_tokens=1):
        print(result.text, activations["layer_15_residual"][0].shape)
"""

from importlib import import_module
from typing import Any

from engine.machine import prepare

prepare()

_HOMES = {
    "ActivationHook": "engine.captures.hook_manager",
    "ActivationHookManager": "engine.captures.hook_manager",
    "ActivationHookSpec": "engine.captures.hooks",
    "CapturedActivation": "engine.captures.records",
    "ChatOptions": "engine.runs.chat",
    "ComponentType": "engine.components",
    "GenerationResult": "engine.runs.results",
    "Intervention": "engine.interventions.intervention",
    "ModelKit": "engine.runs.kit",
    "create_generator_with_activations": "engine.runs.generation",
    "forward": "engine.runs.forward",
    "load_model": "engine.runs.kit",
    "serialize_activations": "engine.captures.serialization",
    "single_token": "engine.runs.kit",
    "tokenize": "engine.runs.kit",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is asked for: the contract alone needs no MLX."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
