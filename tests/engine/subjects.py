"""Each architecture's tiny model with one pass of it in which all there is was captured."""

from dataclasses import dataclass

import numpy as np
import pytest

from engine.captures.hooks import ActivationHookSpec
from engine.captures.records import CapturedActivation
from engine.components import NEURONS, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.runs.forward import ForwardResult
from engine.runs.kit import ModelKit
from engine.structure.resolver import Structure
from engine.taps.points import Point

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35]
SQUARE = {C.ATTENTION_SCORES, C.ATTENTION_PATTERN}
INSIDE_ATTENTION = {C.QUERY, C.KEY, C.VALUE, C.HEAD_OUTPUT} | SQUARE
PICKS_KEYS = {"deepseek_v32", "glm_moe_dsa"}  # for a single token, once there are many


@dataclass
class Subject:
    """One tiny model, and one pass of it in which everything there is was captured."""

    name: str
    kit: ModelKit
    result: ForwardResult

    @property
    def structure(self) -> Structure:
        return self.kit.structure

    def captured(
        self, component: C, layer: int | None, is_input: bool = False
    ) -> list[CapturedActivation]:
        """One record, more where the pass goes through the layer again, none if it is absent."""
        return [
            record
            for records in self.result.activations.values()
            for record in records
            if (record.component, record.layer, record.is_input) == (component, layer, is_input)
        ]

    def requires(self, component: C) -> None:
        """Skip a test of an architecture that has no such component, with the reason."""
        if component not in self.structure.components:
            layers = [n for n, absent in self.structure.absent if absent is component]
            pytest.skip(f"no {component}: {self.structure.absent[layers[0], component]}")

    def data(self, component: C, layer: int | None, is_input: bool = False) -> list[np.ndarray]:
        return [record.data for record in self.captured(component, layer, is_input)]


def everywhere(structure: Structure) -> list[ActivationHookSpec]:
    """A hook on all that there is, and on the input of each block."""
    return [
        ActivationHookSpec(
            "*" if layer is None else str(layer), component, capture_input=component is C.RESIDUAL
        )
        for layer, component in everything(structure)
        if Point(layer, component) in structure.shapes
    ]


def everything(structure: Structure) -> list[tuple[int | None, C]]:
    layers = range(structure.layers)
    return [(layer, c) for c in C for layer in ([None] if c in WHOLE_MODEL else layers)]


def is_ordered(structure: Structure, point: Point) -> bool:
    """Whether a value has one order: the chosen experts of a token may come in any."""
    if point.component in NEURONS:
        return len(structure.shapes[point]) == 3
    return point.component not in (C.ROUTER_CHOICE, C.EXPERT_OUTPUT)
