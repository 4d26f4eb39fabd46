"""`/v1/circuits/patch` answers what the engine measures."""

import numpy as np
import pytest

from engine.analysis.circuits import Task, patch_effects
from engine.contract import schemas as s
from tests.engine.server.conftest import HEADS, LAYERS

PATH = "/v1/circuits/patch"
TASK = {
    "clean": "she and he: she",
    "corrupted": "she and he: her",
    "answer": "h",
    "distractor": "s",
}


def tokens(server, text):
    return server.post("/v1/tokenize", text=text)["tokens"]


@pytest.fixture
def task(server):
    return Task(
        tokens(server, TASK["clean"]),
        tokens(server, TASK["corrupted"]),
        *tokens(server, "hs"),
    )


def measured(server, task, **choices):
    model = server.service.models.get(None)
    return server.service.worker.call(lambda job: patch_effects(model.kit, task, **choices))


def test_by_default_every_head_is_patched(server, task):
    answer = server.post(PATH, **TASK)
    s.CircuitEffects.model_validate(answer)
    expected = measured(server, task)
    assert answer["effects"]["shape"] == [LAYERS, HEADS]
    np.testing.assert_allclose(answer["effects"]["data"], expected.effects, atol=1e-5)
    assert answer["clean_score"] == pytest.approx(expected.clean_score)
    assert answer["corrupted_score"] == pytest.approx(expected.corrupted_score)
    assert (answer["layers"], answer["heads"]) == (list(range(LAYERS)), list(range(HEADS)))
    assert answer["positions"] == [list(range(len(task.clean)))]


def test_all_choices_reach_the_engine(server, task):
    choices = {
        "component": "mlp",
        "method": "ablation",
        "direction": "noising",
        "layers": [2, 0],
        "positions": "each",
    }
    answer = server.post(PATH, **TASK, **choices)
    expected = measured(server, task, **choices)
    np.testing.assert_allclose(answer["effects"]["data"], expected.effects, atol=1e-5)
    assert (answer["layers"], answer["heads"]) == ([2, 0], None)


def test_prompts_and_tokens_may_be_given_by_id(server, task):
    by_id = {
        "clean": task.clean,
        "corrupted": task.corrupted,
        "answer": task.answer,
        "distractor": task.distractor,
    }
    assert server.post(PATH, **by_id) == server.post(PATH, **TASK)


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"answer": "her"}, 422, "'her' is 3 tokens"),
        ({"answer": 9999}, 422, "9999 is no token id"),
        ({"layers": [9]}, 422, "layers 0 to 2"),
        ({"positions": [99]}, 422, "positions 0 to 14"),
        ({"corrupted": "short"}, 422, "clean has 15 tokens and corrupted 5"),
        ({"method": "guessing"}, 400, "method"),
        ({"component": "query"}, 400, "component"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(server, changes, status, message):
    assert message in server.error(PATH, status, **TASK | changes)["message"]
