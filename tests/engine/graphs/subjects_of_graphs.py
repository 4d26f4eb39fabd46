"""Tiny random models, the same in PyTorch and in the engine, with random transcoders of both."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from dense_graph import Dense, Transcoder, dense_graph, random_transcoders
from reference_models import reference_model, save

from engine.components import ComponentType as C
from engine.features.activations import JumpRelu, Relu
from engine.features.bound import BoundSet
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.runs.kit import ModelKit, load_model
from engine.taps.points import Point

TOKENS = [3, 31, 4, 15, 9]
FEATURES = 12


class Subject:
    """A model of three layers with transcoders, and its dense graph in PyTorch."""

    def __init__(self, name: str, folder: Path, **kinds: bool):
        self.model = reference_model(name, num_hidden_layers=3, n_layer=3)
        self.folder = save(self.model, folder)
        self.kit: ModelKit = load_model(self.folder, dtype="float32")
        hidden = self.model.config.hidden_size
        self.torch = random_transcoders(3, hidden, FEATURES, **kinds)
        self.transcoders = [
            BoundSet(each.name, each, self.kit.structure) for each in in_engine(self.torch)
        ]

    def logits(self) -> np.ndarray:
        """Those of the last position in PyTorch."""
        with torch.no_grad():
            return self.model(torch.tensor([TOKENS])).logits[0, -1].numpy()

    def dense(self, targets: list[int]) -> Dense:
        return dense_graph(self.model, TOKENS, self.torch, targets)


def in_engine(transcoders: list[Transcoder]) -> list[FeatureSet | CrossLayerTranscoder]:
    """The same transcoders as the engine has them."""
    encoders = tuple(
        Encoder(
            _array(each.encoder),
            _array(each.bias),
            Relu() if each.threshold is None else JumpRelu(_array(each.threshold), False),
        )
        for each in transcoders
    )
    reads = tuple(Point(n, C.MLP, True) for n in range(len(transcoders)))
    writes = tuple(Point(n, C.MLP) for n in range(len(transcoders)))
    skips = [None if each.skip is None else _array(each.skip) for each in transcoders]
    if len(transcoders[0].decoders) > 1:
        decoders = tuple(
            mx.stack([_array(each) for each in coder.decoders], axis=1) for coder in transcoders
        )
        biases = mx.stack([_array(each.decoder_bias) for each in transcoders])
        skip = None if skips[0] is None else mx.stack(skips)
        return [
            CrossLayerTranscoder(
                "tiny", "cross-layer", reads, writes, encoders, decoders, biases, skip
            )
        ]
    return [
        FeatureSet(
            f"tiny-{n}",
            "transcoder",
            reads[n],
            writes[n],
            encoders[n],
            _array(coder.decoders[0]),
            _array(coder.decoder_bias),
            skip=skips[n],
        )
        for n, coder in enumerate(transcoders)
    ]


def _array(tensor: torch.Tensor) -> mx.array:
    return mx.array(tensor.numpy())
