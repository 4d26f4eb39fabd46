"""An attribution graph's matrix in PyTorch: transformers' models, one target after another."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


@dataclass
class Transcoder:
    """Weights by circuit-tracer's shapes: `encoder` ``[n, hidden]``, `decoders[i]` ``[n, hidden]``
    for the layer and each later one that it writes, `skip` ``[hidden, hidden]``."""

    encoder: torch.Tensor
    bias: torch.Tensor
    decoders: list[torch.Tensor]
    decoder_bias: torch.Tensor
    threshold: torch.Tensor | None = None
    skip: torch.Tensor | None = None

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        pre = x @ self.encoder.T + self.bias
        return pre * (pre > (0 if self.threshold is None else self.threshold))


@dataclass
class Dense:
    """`weights` ``[targets, sources]`` of all active features (by layer, position, index) and of
    logits, from these features, errors (by layer, position) and token embeddings; `values` are
    the targets' own."""

    features: list[tuple[int, int, int]]
    activations: list[float]
    weights: np.ndarray
    values: np.ndarray


def random_transcoders(
    layers: int, hidden: int, features: int, *, cross_layer: bool, skip: bool, jump: bool
) -> list[Transcoder]:
    generator = torch.Generator().manual_seed(4)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    return [
        Transcoder(
            draw(features, hidden),
            draw(features) - 0.3,
            [draw(features, hidden) for _ in range(layers - n if cross_layer else 1)],
            draw(hidden),
            0.1 + draw(features).abs() if jump else None,
            draw(hidden, hidden) if skip else None,
        )
        for n in range(layers)
    ]


def dense_graph(
    model: torch.nn.Module, tokens: list[int], transcoders: list[Transcoder], targets: list[int]
) -> Dense:
    """Every edge of a prompt's graph; transcoders are not used at position 0."""
    inner = model.base_model
    blocks = getattr(inner, "layers", None) or inner.h
    table = getattr(inner, "embed_tokens", None) or inner.wte
    norm = getattr(inner, "norm", None) or inner.ln_f
    read: list[torch.Tensor] = []
    errors: list[torch.Tensor] = []
    leaves = [torch.zeros(len(tokens), model.config.hidden_size, requires_grad=True)
              for _ in range(len(blocks) + 1)]  # fmt: skip
    made = [torch.zeros(len(tokens), model.config.hidden_size) for _ in blocks]
    active: list[torch.Tensor] = []

    def replaced(layer: int):
        def hook(_module, inputs, output):
            x = inputs[0][0]
            coder = transcoders[layer]
            acts = coder.encode(x.detach())
            acts[0] = 0
            for offset, decoder in enumerate(coder.decoders):
                made[layer + offset] += acts @ decoder
            skipped = torch.zeros_like(x) if coder.skip is None else x @ coder.skip.T
            rest = (output[0] - skipped).detach()
            error = rest - made[layer] - coder.decoder_bias
            error[0] = 0
            read.append(x)
            active.append(acts)
            errors.append(error)
            return (rest + skipped + leaves[layer])[None]

        return hook

    final: list[torch.Tensor] = []
    handles = [block.mlp.register_forward_hook(replaced(n)) for n, block in enumerate(blocks)]
    handles.append(table.register_forward_hook(lambda m, i, output: output + leaves[-1]))
    handles.append(norm.register_forward_hook(lambda m, i, output: final.append(output[0])))
    with frozen(model):
        model(torch.tensor([tokens]))
    for handle in handles:
        handle.remove()
    features = [tuple(each) for each in torch.stack(active).nonzero().tolist()]
    unembedding = model.get_output_embeddings().weight.detach()
    unembedding = unembedding - unembedding.mean(0)
    values = [transcoders[n].encoder[f] @ read[n][at] for n, at, f in features]
    values += [unembedding[token] @ final[0][-1] for token in targets]
    vectors = table.weight.detach()[tokens]
    rows = []
    for value in values:
        grads = torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
        row = [
            sum(
                float(active[n][at, f] * decoder[f] @ grads[n + offset][at])
                for offset, decoder in enumerate(transcoders[n].decoders)
            )
            for n, at, f in features
        ]
        row += [float(e) for n, each in enumerate(errors) for e in (each * grads[n]).sum(-1)]
        row += [float(e) for e in (vectors * grads[-1]).sum(-1)]
        rows.append(row)
    activations = [float(active[n][at, f]) for n, at, f in features]
    own = [value.item() for value in values]
    return Dense(features, activations, np.array(rows), np.array(own))


@contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """Attention patterns, and what norms divide by, without gradients."""
    softmax = functional.softmax
    norms = [m for m in model.modules() if "Norm" in type(m).__name__]
    functional.softmax = lambda *args, **kwargs: softmax(*args, **kwargs).detach()
    for module in norms:
        module.forward = _frozen_norm(module)
    try:
        yield
    finally:
        functional.softmax = softmax
        for module in norms:
            del module.forward


def _frozen_norm(module: torch.nn.Module):
    def forward(x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, torch.nn.LayerNorm):
            x = x - x.mean(-1, keepdim=True)
            size = (x.var(-1, keepdim=True, correction=0) + module.eps).sqrt().detach()
            return x / size * module.weight + module.bias
        size = (x.square().mean(-1, keepdim=True) + module.variance_epsilon).sqrt().detach()
        return x / size * module.weight

    return forward
