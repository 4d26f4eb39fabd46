"""A model's weights in an image are those that Python reads."""

import numpy as np
from neuroscope import ask

from bridge.client import LMStudioNeuroScopeClient
from systems import System


def test_a_head_s_weights_are_those_that_python_reads(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    shape, norms, neuron, column = ask(
        system,
        engine,
        "| w factors | w := model weights;; factors := w circuit: 'OV' layer: 5 head: 3;; "
        "{(w at: 'W_Q' layer: 5 head: 3) shape. "
        "{(w at: 'W_Q' layer: 5 head: 3) norm. (w at: 'W_K' layer: 5 head: 1) norm. "
        "factors first norm. factors last norm}. "
        "(w at: 'W_out' layer: 2 neuron: 7) norm. (w at: 'W_U' tokens: #(11 12)) shape}",
    )
    model = engine.health()["model"]

    def read(name: str, **options: int) -> dict[str, np.ndarray]:
        return engine.read_weight(name, model, **options)

    query = read("W_Q", layer=5, head=3)["W_Q"]
    circuit = read("OV", layer=5, head=3)
    expected = [
        query,
        read("W_K", layer=5, head=1)["W_K"],
        circuit["A"],
        circuit["B"],
    ]
    assert shape == list(query.shape) == [576, 64]
    np.testing.assert_allclose(norms, [np.linalg.norm(each) for each in expected], rtol=1e-5)
    row = read("W_out", layer=2, neuron=7)["W_out"]
    np.testing.assert_allclose(neuron, np.linalg.norm(row), rtol=1e-5)
    assert column == [576, 2]


def test_what_there_is_not_is_an_error_that_says_why(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    *texts, there, printed = ask(
        system,
        engine,
        "{[model weights at: 'W_router' layer: 0. ''] on: LMStudioUnprocessableError "
        "do: [:error | error messageText]. (model weights entries select: [:each | "
        "(each at: 'name') = 'W_Q']) size. {model weights includes: 'W_Q'. "
        "model weights includes: #'W_router'. (model weights at: 'W_Q' layer: model layers last) "
        "shape}. model weights printString}",
    )
    assert there == [True, False, [9, 576, 64]]
    assert printed.startswith("a NeuroScopeWeights of ")
    assert "no mixture of experts" in texts[0]
    assert texts[1] == 1
