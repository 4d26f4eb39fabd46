"""The same model in PyTorch, and how heads are patched there, by hand and by others' libraries."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
from mlx.utils import tree_flatten
from transformers import LlamaConfig, LlamaForCausalLM

from engine.analysis.circuits import Task
from engine.runs.kit import ModelKit


def in_pytorch(kit: ModelKit) -> LlamaForCausalLM:
    """The same model, with the same weights, in transformers."""
    model = LlamaForCausalLM(LlamaConfig.from_dict(kit.config))
    weights = tree_flatten(kit.model.parameters())
    state = {name: torch.from_numpy(np.array(weight)) for name, weight in weights}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model.eval()


def timed(work: Callable) -> tuple[float, object]:
    """How many seconds `work` took, and its result."""
    start = perf_counter()
    result = work()
    return perf_counter() - start, result


class Heads:
    """Patching the heads of a task in PyTorch, one pass or one batch at a time."""

    def __init__(self, model: LlamaForCausalLM, task: Task):
        self.model = model
        self.task = task
        self.width = model.config.head_dim
        self.projections = [block.self_attn.o_proj for block in model.model.layers]
        self.clean, self.corrupted = self.scores([task.clean])[0], self.scores([task.corrupted])[0]

    @torch.no_grad()
    def scores(self, tokens: list) -> list[float]:
        logits = self.model(torch.tensor(tokens, device=self.model.device)).logits[:, -1]
        return (logits[:, self.task.answer] - logits[:, self.task.distractor]).tolist()

    def effect(self, score: float) -> float:
        return (score - self.corrupted) / (self.clean - self.corrupted)

    def looped(self, layers: range, heads: range) -> np.ndarray:
        """The effects, one pass each, the way they are usually measured."""
        effects = np.zeros((len(layers), len(heads)))
        for layer in layers:
            kept = self.kept(layer)
            for head in heads:
                with hooked(self.projections[layer], self.patch(kept, [head])):
                    effects[layer, head] = self.effect(self.scores([self.task.corrupted])[0])
        return effects

    def batched(self, layers: range, heads: range) -> np.ndarray:
        """The effects, a layer's heads in one batch, the way an expert would."""
        effects = np.zeros((len(layers), len(heads)))
        for layer in layers:
            with hooked(self.projections[layer], self.patch(self.kept(layer), heads)):
                scores = self.scores([self.task.corrupted] * len(heads))
            effects[layer] = [self.effect(score) for score in scores]
        return effects

    def patch(self, kept: torch.Tensor, heads: Sequence[int]) -> Callable:
        """A hook that puts a head of the clean run into each row of a batch."""

        def replace(_, args):
            patched = args[0].clone()
            for row, head in enumerate(heads):
                patched[row, :, self.columns(head)] = kept[0, :, self.columns(head)]
            return (patched,)

        return replace

    def columns(self, head: int) -> slice:
        return slice(head * self.width, (head + 1) * self.width)

    def kept(self, layer: int) -> torch.Tensor:
        """What the clean run gives a layer's output projection."""
        kept: list[torch.Tensor] = []
        with hooked(self.projections[layer], lambda _, args: kept.extend(args)):
            self.scores([self.task.clean])
        return kept[0]


@contextmanager
def hooked(module: torch.nn.Module, hook: Callable) -> Iterator[None]:
    """A hook that sees a module's arguments, for as long as a block runs."""
    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def residuals(model: LlamaForCausalLM, tokens: list[int]) -> list[np.ndarray]:
    """Each block's output as float32 in numpy, taken by hooks."""
    kept: list[torch.Tensor] = []

    def keep(_, args, output):
        kept.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(keep) for block in model.model.layers]
    try:
        model(torch.tensor([tokens], device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    return [value.float().cpu().numpy() for value in kept]


def in_transformer_lens(model: LlamaForCausalLM, task: Task) -> Callable[[], np.ndarray]:
    """All heads patched by TransformerLens' own function, on a bridge that takes the model over.

    Raises ImportError where it is not installed.
    """
    from transformer_lens import patching
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    heads = Heads(model, task)
    bridge = build_bridge_from_module(model, "LlamaForCausalLM", hf_config=model.config)
    clean, corrupted = (
        torch.tensor([tokens], device=model.device) for tokens in (task.clean, task.corrupted)
    )

    def effect(logits: torch.Tensor) -> torch.Tensor:
        last = logits[0, -1]
        return heads.effect(last[task.answer] - last[task.distractor])

    @torch.no_grad()
    def patched() -> np.ndarray:
        _, cache = bridge.run_with_cache(clean)
        every = patching.get_act_patch_attn_head_out_all_pos(bridge, corrupted, cache, effect)
        return every.cpu().numpy()

    return patched


def in_nnsight(model: LlamaForCausalLM, task: Task) -> Callable[[], np.ndarray]:
    """All heads patched in nnsight, one trace each; raises ImportError if it is not installed."""
    from nnsight import NNsight

    heads, seen = Heads(model, task), NNsight(model)
    corrupted = torch.tensor([task.corrupted], device=model.device)
    shape = model.config.num_hidden_layers, model.config.num_attention_heads

    @torch.no_grad()
    def patched() -> np.ndarray:
        effects = np.zeros(shape)
        for layer in range(shape[0]):
            kept = heads.kept(layer)
            for head in range(shape[1]):
                columns = heads.columns(head)
                with seen.trace(corrupted):
                    seen.model.layers[layer].self_attn.o_proj.input[..., columns] = kept[
                        ..., columns
                    ]
                    last = seen.lm_head.output[0, -1].save()
                effects[layer, head] = heads.effect(
                    (last[task.answer] - last[task.distractor]).item()
                )
        return effects

    return patched
