"""The examples of features over HTTP, with progress, given up and gone on with."""

import json
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from features.made import random_set
from features.reading import letters

from engine.components import ComponentType as C
from engine.features.bound import BoundSet
from engine.features.documents import TextFiles, TextList
from engine.features.examples.results import found
from engine.features.examples.search import ExampleSearch
from engine.features.examples.settings import ExampleSettings
from engine.features.formats import sae_lens
from engine.taps.points import Point
from tests.engine.server.conftest import HIDDEN, Server

ROUTE = "/v1/features/examples"
TEXTS = [letters(200, seed) for seed in range(3)]
AROUND = {"top_k": 2, "before": 3, "after": 2, "context": 32}
RESIDUAL = Point(1, C.RESIDUAL)


@pytest.fixture(scope="module")
def folder(tiny_model: Path) -> Path:
    """A feature set and texts below the root of the models."""
    folder = tiny_model.parent / "examples"
    sae_lens.save(random_set(HIDDEN, RESIDUAL), folder / "mine")
    inside = random_set(64, Point(0, C.MLP_HIDDEN))
    sae_lens.save(inside, folder / "neurons")
    (folder / "texts").mkdir()
    for number in range(40):
        (folder / f"texts/{number:02}.txt").write_text(letters(300, number))
    return folder


@pytest.fixture(scope="module")
def served(server: Server, folder: Path) -> Server:
    for name in ("mine", "neurons"):
        server.post("/v1/features/load", features_path=str(folder / name))
    return server


def searched(server: Server, texts, features: list[int], **changes) -> list[dict]:
    """The same by the engine alone, in a thread of its own."""
    model = server.service.models.get(None)
    bound: BoundSet = model.feature_sets.get("mine")
    settings = ExampleSettings(**{**AROUND, **changes})

    def work(job):
        search = ExampleSearch(model.kit, bound.layers[0], texts, settings, features)
        search.run()
        return list(found(model.kit, search, 4))

    return server.service.worker.call(work)


def check(entry: dict, expected) -> None:
    assert (entry["feature"], entry["on"]) == (expected.feature, expected.on)
    assert entry["density"] == pytest.approx(expected.density)
    assert entry["histogram"] == expected.histogram
    assert entry["edges"] == [None if each == float("inf") else each for each in expected.edges]
    for one, other in zip(entry["examples"], expected.examples, strict=True):
        assert one["value"] == pytest.approx(other.value, rel=1e-5)
        assert one["activations"] == pytest.approx(other.activations, rel=1e-5)
        for name in ("position", "tokens", "texts", "file", "document", "token"):
            assert one[name] == getattr(other, name)
    for name in ("promoted", "suppressed"):
        assert [each["id"] for each in entry[name]] == [e.id for e in getattr(expected, name)]


def test_examples_of_texts_in_the_request_are_those_of_the_engine(served: Server):
    body = {"feature_set": "mine", "features": [3, 17], "texts": TEXTS, "effects": 4, **AROUND}
    reply = served.post(ROUTE, **body)
    expected = searched(served, TextList(TEXTS), [3, 17])
    for entry, other in zip(reply["features"], expected, strict=True):
        check(entry, other)
    assert (reply["layer"], reply["tokens"], reply["resumed_tokens"]) == (1, 600, 0)
    assert reply["positions"] == 600 - 3 * 7  # of each text's seven windows the first position


def test_examples_of_a_folder_tell_their_progress(served: Server, folder: Path):
    path = str(folder / "texts")
    body = {"feature_set": "mine", "features": [5], "texts_path": path, "effects": 4, **AROUND}
    with served.http.stream("POST", ROUTE, json={**body, "stream": True}) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: {")]
    *told, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert last["type"] == "result"
    expected = searched(served, TextFiles(folder / "texts"), [5])
    check(last["result"]["features"][0], expected[0])
    assert told
    assert {(each["unit"], each["total"]) for each in told} == {("bytes", 12_000)}
    assert all(one["done"] <= other["done"] for one, other in pairwise(told))


def test_a_cancelled_search_is_gone_on_with(served: Server, folder: Path, monkeypatch):
    path = str(folder / "texts")
    body = {"feature_set": "mine", "features": [6, 7], "texts_path": path, **AROUND}
    whole = served.post(ROUTE, **body)
    looked, cancelled = ExampleSearch._look_at, []

    def look(search: ExampleSearch, batch) -> None:
        looked(search, batch)
        if search.tokens > 4000 and not cancelled:
            (job,) = served.service.worker.jobs()
            cancelled.append(job[0].job_id)
            job[0].cancel()

    monkeypatch.setattr(ExampleSearch, "_look_at", look)
    error = served.http.post(ROUTE, json=body)
    assert error.status_code != 200
    assert cancelled
    reply = served.post(ROUTE, **body, resume=True)
    assert 4000 < reply["resumed_tokens"] < reply["tokens"] == whole["tokens"]
    assert reply["features"] == whole["features"]
    again = served.post(ROUTE, **body, resume=True)
    assert again["resumed_tokens"] == 0


def test_tokens_that_a_feature_promotes_are_those_of_the_unembedding(served: Server):
    reply = served.post("/v1/features/tokens", feature_set="mine", feature=9, top_k=3)
    kit = served.service.models.get(None).kit
    bound = served.service.models.get(None).feature_sets.get("mine")
    weights = served.service.worker.call(
        lambda job: [
            np.array(each.astype(mx.float32))
            for each in (
                kit.model.model.embed_tokens.weight,
                kit.model.model.norm.weight,
                bound.feature_set.decoder[9],
            )
        ]
    )
    logits = weights[0] @ (weights[1] * weights[2])
    order = np.argsort(-logits, kind="stable")
    assert [each["id"] for each in reply["promoted"]] == order[:3].tolist()
    assert [each["id"] for each in reply["suppressed"]] == order[::-1][:3].tolist()
    found = [each["logit"] for each in reply["promoted"]]
    np.testing.assert_allclose(found, logits[order[:3]], rtol=1e-4)
    assert (reply["feature"], reply["layer"], reply["feature_set"]) == (9, 1, "mine")


@pytest.mark.parametrize(
    ("status", "changes", "message"),
    [
        (404, {"feature_set": "other"}, "no feature set 'other'"),
        (422, {"features": [40]}, "feature 40 of mine: there are features 0 to 39"),
        (403, {"texts": None, "texts_path": "/etc"}, "not below a folder that this server"),
        (400, {"texts_path": "x"}, "either texts or texts_path"),
        (422, {"texts": ["a"]}, "no window has more than 1 tokens"),
    ],
)
def test_what_cannot_be_looked_for_is_named(served: Server, status, changes, message):
    body = {"feature_set": "mine", "features": [1], "texts": TEXTS, **changes}
    assert message in served.error(ROUTE, status, **body)["message"]


def test_a_set_that_does_not_write_to_the_stream_promotes_nothing(served: Server):
    error = served.error("/v1/features/tokens", 422, feature_set="neurons", feature=0)
    assert "does not write to the residual stream" in error["message"]
    body = {"feature_set": "neurons", "features": [0], "texts": TEXTS, **AROUND}
    (entry,) = served.post(ROUTE, **body)["features"]
    assert entry["promoted"] is None
    assert entry["suppressed"] is None
