"""Run by `mlx.launch` on three ranks: SmolLM2, spread, beside the whole model."""

import json

import numpy as np
from spread_models import difference

import engine  # noqa: F401  (puts a fast BLAS in place before MLX)
from engine.captures.hooks import ActivationHookSpec
from engine.errors import UnsupportedModelError
from engine.parallel.ranks import joined
from engine.parallel.tensor import TensorParallel, check_heads
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit, load_model, tokenize

HOOKS = [
    ActivationHookSpec("*", "residual"),
    ActivationHookSpec("18", "attention_pattern", heads=(6,)),
    ActivationHookSpec("0-3", "query", positions=(0, -1)),
    ActivationHookSpec("12", "mlp_hidden"),
]


def numbers(kit: ModelKit) -> dict[str, np.ndarray]:
    tokens = tokenize(kit, "When Mary and John went to the store, John gave a drink to")
    found = forward(kit, [tokens], HOOKS)
    arrays = {"logits": found.logits}
    for hook_id, (record,) in found.activations.items():
        arrays[hook_id] = record.data
    steps = create_generator_with_activations(kit, tokens, [], max_tokens=4)
    arrays["tokens"] = np.array([step.token for step, _ in steps])
    return arrays


def main() -> None:
    ranks = joined()
    kit = load_model("smollm2", spread=TensorParallel(ranks))
    spread = numbers(kit)
    if ranks.rank:
        return
    whole = numbers(load_model("smollm2"))
    differences = {name: difference(spread[name], whole[name]) for name in whole}
    try:
        check_heads(kit.structure.shapes, 2)
        of_two = "not refused"
    except UnsupportedModelError as error:
        of_two = str(error)
    print(json.dumps({"heads": kit.info.heads, "differences": differences, "of two": of_two}))


if __name__ == "__main__":
    main()
