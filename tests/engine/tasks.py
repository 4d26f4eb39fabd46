"""A task for tiny models of 96 tokens, and passes made one by one to compare an analysis with."""

import numpy as np

from engine.analysis.circuits import Task
from engine.captures.hooks import ActivationHookSpec
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit

TINY = Task(clean=[3, 31, 4, 15, 9, 26], corrupted=[3, 31, 40, 15, 2, 26], answer=7, distractor=11)


def score(kit: ModelKit, tokens, *interventions: Intervention) -> float:
    logits = forward(kit, [tokens], interventions=interventions).logits[0, -1]
    return float(logits[TINY.answer] - logits[TINY.distractor])


def value(kit: ModelKit, tokens, component: str, layer: int) -> np.ndarray:
    hook = ActivationHookSpec(str(layer), component, "hook")
    return forward(kit, [tokens], [hook]).activations["hook"][0].data


def selected(array: np.ndarray, head: int | None, positions) -> np.ndarray:
    positions = list(positions)
    return array[:, positions] if head is None else array[:, [head]][:, :, positions]
