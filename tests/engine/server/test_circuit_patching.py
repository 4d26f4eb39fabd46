"""`/v1/circuits/patch` and `/v1/circuits/verify` return what the engine measures."""

import json

import numpy as np
import pytest

from engine.analysis.ablation import Ablation
from engine.analysis.circuits import Task, patch_effects, patch_sets
from engine.analysis.parts import CircuitPart
from engine.analysis.verification import verify_circuit
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


# --- as events --------------------------------------------------------------------------------

MANY = {**TASK, "component": "residual", "positions": "each"}


def streamed(server, path, **body):
    with server.http.stream("POST", path, json=body | {"stream": True}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    return lines


@pytest.mark.parametrize(
    ("path", "body", "total"),
    [
        (PATH, MANY, LAYERS * len(TASK["clean"])),
        (PATH, TASK | {"method": "attribution_patching"}, 1),
        (PATH, TASK | {"sets": [[{"layer": 0, "head": 1}], []]}, 2),
        ("/v1/circuits/verify", TASK | {"circuit": [{"layer": 1}], "subsets": 0}, 3),
    ],
)
def test_a_sweep_streams_its_progress_and_then_its_result(server, path, body, total):
    *lines, last, end = streamed(server, path, **body)
    told = [json.loads(line) for line in lines]
    for event in told:
        s.ProgressEvent.model_validate(event)
        assert event["total"] == total
    done = [event["done"] for event in told]
    assert done[0] == 0
    assert done == sorted(done)
    assert json.loads(last) == {"type": "result", "result": server.post(path, **body)}
    assert end == "[DONE]"


def test_a_stream_that_cannot_begin_has_the_status_of_its_error(server):
    body = TASK | {"corrupted": TASK["clean"], "stream": True}
    assert "without a difference" in server.error(PATH, 422, **body)["message"]


def test_what_fails_after_the_first_event_is_the_last_one(server):
    same = {**EXAMPLES[0], "corrupted": EXAMPLES[0]["clean"]}
    *_, last = streamed(server, PATH, examples=[EXAMPLES[0], same])
    assert "of example 1 " in json.loads(last)["error"]["message"]


# --- several examples, and sets ---------------------------------------------------------------

OTHER = {"clean": "a cat", "corrupted": "a dog", "answers": ["h", "t"], "distractors": ["s"]}
EXAMPLES = [
    {
        "clean": TASK["clean"],
        "corrupted": TASK["corrupted"],
        "answers": [TASK["answer"]],
        "distractors": [TASK["distractor"]],
    },
    OTHER,
]


@pytest.fixture
def tasks(server, task):
    clean, corrupted = (tokens(server, OTHER[name]) for name in ("clean", "corrupted"))
    return [
        Task(task.clean, task.corrupted, task.answer, task.distractor, "logsumexp"),
        Task(clean, corrupted, tokens(server, "ht"), task.distractor, "logsumexp"),
    ]


def test_one_example_in_a_list_is_measured_as_by_itself(server):
    assert server.post(PATH, examples=EXAMPLES[:1]) == server.post(PATH, **TASK)


def test_several_examples_are_one_request(server, tasks):
    reply = server.post(PATH, examples=EXAMPLES, pooling="logsumexp", component="mlp")
    s.CircuitEffects.model_validate(reply)
    expected = measured(server, tasks, component="mlp")
    assert reply["scores"]["shape"] == [2, LAYERS, 1]
    np.testing.assert_allclose(reply["scores"]["data"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(reply["effects"]["data"], expected.effects, atol=1e-5)
    assert reply["clean_scores"] == pytest.approx(expected.clean_scores)
    assert reply["corrupted_scores"] == pytest.approx(expected.corrupted_scores)
    assert reply["clean_score"] == pytest.approx(np.mean(expected.clean_scores))
    assert reply["positions"] is None


def test_neurons_are_chosen_by_number(server, task):
    choices = {"component": "mlp_hidden", "neurons": [5, 2], "positions": [-1], "layers": [1]}
    reply = server.post(PATH, **TASK, **choices)
    expected = measured(server, task, **choices)
    assert reply["neurons"] == [5, 2]
    assert reply["effects"]["shape"] == [1, 2]
    np.testing.assert_allclose(reply["effects"]["data"], expected.effects, atol=1e-5)


def test_sets_of_parts_are_patched_at_once(server, tasks):
    sets = [
        [{"layer": 0, "head": 1}, {"layer": 2, "component": "mlp", "positions": [-1]}],
        [],
        [{"layer": 1, "component": "mlp_hidden", "neuron": 3}],
    ]
    ablation = {"kind": "resample", "references": ["a bat", TASK["clean"]], "samples": 2, "seed": 4}
    reply = server.post(
        PATH,
        examples=EXAMPLES,
        pooling="logsumexp",
        sets=sets,
        method="ablation",
        direction="noising",
        ablation=ablation,
    )
    s.CircuitEffects.model_validate(reply)
    model = server.service.models.get(None)
    references = [tokens(server, text) for text in ablation["references"]]
    expected = server.service.worker.call(
        lambda job: patch_sets(
            model.kit,
            tasks,
            [
                [CircuitPart(0, head=1), CircuitPart(2, "mlp", positions=(-1,))],
                [],
                [CircuitPart(1, "mlp_hidden", neuron=3)],
            ],
            method="ablation",
            direction="noising",
            ablation=Ablation("resample", references, samples=2, seed=4),
        )
    )
    np.testing.assert_allclose(reply["effects"]["data"], expected.effects, atol=1e-5)
    np.testing.assert_allclose(reply["scores"]["data"], expected.scores, atol=1e-5)
    assert [reply[name] for name in ("layers", "heads", "neurons", "positions")] == [None] * 4


def test_a_circuit_is_verified(server, tasks):
    circuit = [{"layer": 0, "head": 1}, {"layer": 2, "head": 3, "positions": [-1]}]
    reply = server.post(
        "/v1/circuits/verify",
        circuit=circuit,
        examples=EXAMPLES,
        pooling="logsumexp",
        ablation={"kind": "mean", "over": "positions"},
        subsets=2,
        seed=5,
    )
    s.CircuitVerification.model_validate(reply)
    model = server.service.models.get(None)
    expected = server.service.worker.call(
        lambda job: verify_circuit(
            model.kit,
            tasks,
            [CircuitPart(0, head=1), CircuitPart(2, head=3, positions=(-1,))],
            ablation=Ablation("mean", over="positions"),
            subsets=2,
            seed=5,
        )
    )
    for name in ("model_score", "circuit_score", "empty_score", "faithfulness", "incompleteness"):
        assert reply[name] == pytest.approx(getattr(expected, name), abs=1e-5)
    assert [each["part"] for each in reply["minimality"]] == [0, 1]
    assert [each["subset"] for each in reply["completeness"]] == [
        list(each.subset) for each in expected.completeness
    ]


def test_hooks_that_are_registered_see_no_pass_of_an_analysis(server):
    hook = {"layer_name": "*", "component": "head_output", "hook_id": "watch"}
    server.post("/v1/activations/hooks", hooks=[hook])
    try:
        before = server.get("/v1/activations/hooks")
        server.post(PATH, **TASK)
        server.post("/v1/circuits/verify", circuit=[{"layer": 0, "head": 1}], examples=EXAMPLES)
        assert server.get("/v1/activations/hooks") == before
        model = server.service.models.get(None)
        assert not any(model.kit.get_captured_activations().values())
    finally:
        server.http.delete("/v1/activations/hooks")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "give either examples, or all of clean, corrupted, answer, distractor"),
        ({"clean": "a"}, 400, "give either examples, or all of"),
        (TASK | {"examples": EXAMPLES}, 400, "give either examples, or clean"),
        ({"examples": []}, 400, "examples"),
        ({"examples": [OTHER | {"answers": []}]}, 400, "examples.0.answers"),
        ({"examples": [OTHER | {"answers": ["her"]}]}, 422, "examples.0.answers: 'her' is 3"),
        ({"examples": [OTHER | {"clean": "a cow!"}]}, 422, "clean has 6 tokens and corrupted 5"),
        (TASK | {"sets": [[]], "component": "mlp"}, 422, "component: the sets say where"),
        (TASK | {"sets": [[]], "layers": [0]}, 422, "layers: the sets say where"),
        (TASK | {"sets": []}, 400, "sets"),
        (TASK | {"sets": [[{"layer": 0, "head": 9}]]}, 422, "heads 0 to 3"),
        (TASK | {"sets": [[{"layer": 0, "neuron": 1}]]}, 422, "no neurons to select"),
        (TASK | {"ablation": {"kind": "mean"}}, 422, "activation_patching ablates nothing"),
        (TASK | {"layers": [0, 0]}, 422, "layers: 0 is given twice"),
        (TASK | {"pooling": "max"}, 400, "pooling"),
    ],
)
def test_examples_and_sets_that_cannot_be_measured_are_refused(server, body, status, message):
    assert message in server.error(PATH, status, **body)["message"]


def test_prompts_of_different_lengths_have_an_error_of_their_own(server):
    error = server.error(PATH, 422, **TASK | {"corrupted": "short"})
    assert error["type"] == "unequal_prompts"
