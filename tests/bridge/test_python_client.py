"""The Python client has each operation of the API document, blocking and asynchronous."""

import asyncio
import inspect
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bridge.api_client import AsyncOperations, Operations
from bridge.client import AsyncLMStudioNeuroScopeClient, LMStudioNeuroScopeClient
from bridge.errors import LMStudioError
from bridge.generator.python_client import python_client
from bridge.progress import ProgressBar
from bridge.resources import OPENAPI, PACKAGE

PROMPT = "The capital of France is"
HOOK = {"layer_name": "3", "component": "residual"}


def test_the_committed_operations_are_those_of_the_api_document(tmp_path: Path):
    fresh = tmp_path / "api_client.py"
    fresh.write_text(python_client(OPENAPI))
    settings = ["--config", str(PACKAGE.parent / "pyproject.toml"), "--quiet", str(fresh)]
    for command in (["format"], ["check", "--fix"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *settings], check=True, timeout=60)
    assert fresh.read_text() == (PACKAGE / "api_client.py").read_text()


@pytest.mark.parametrize("kind", [Operations, AsyncOperations])
def test_each_operation_is_a_method_with_all_its_fields(kind: type):
    document = json.loads(OPENAPI.read_text())
    methods = {
        name.replace("_", ""): set(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
    }
    for item in document["paths"].values():
        for operation in item.values():
            fields = {parameter["name"] for parameter in operation.get("parameters", ())}
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                name = schema["$ref"].rsplit("/", 1)[-1]
                fields |= set(document["components"]["schemas"][name]["properties"]) - {"stream"}
            assert methods[operation["operationId"].lower()] == fields | {"self"}


def test_a_coroutine_returns_what_the_blocking_method_returns(engine):
    async def asked():
        async with AsyncLMStudioNeuroScopeClient(engine.base_url) as client:
            assert await client.health_check()
            found = await client.forward(PROMPT, [HOOK])
            live = await client.forward_through(
                PROMPT, [HOOK], lambda record, value: np.zeros_like(value)
            )
            return found, await client.get_tensors(found["capture_id"]), live

    found, tensors, live = asyncio.run(asked())
    expected = engine.forward(PROMPT, [HOOK])
    assert found["activations"] == expected["activations"]
    zeroed = engine.forward(PROMPT, interventions=[HOOK | {"operation": "ablation"}])
    assert live["logits"] == zeroed["logits"]
    np.testing.assert_array_equal(
        tensors["layer_3_residual/0"],
        engine.get_tensors(expected["capture_id"])["layer_3_residual/0"],
    )


def test_the_events_of_a_stream_join_to_the_whole_text(engine):
    async def streamed():
        async with AsyncLMStudioNeuroScopeClient(engine.base_url) as client:
            events = client.stream_create_completion(PROMPT, max_tokens=6)
            return [event["choices"][0]["text"] async for event in events]

    whole = engine.create_completion(PROMPT, max_tokens=6)["choices"][0]["text"]
    events = engine.stream_create_completion(PROMPT, max_tokens=6)
    assert "".join(event["choices"][0]["text"] for event in events) == whole
    assert "".join(asyncio.run(streamed())) == whole


def test_a_refused_stream_raises_the_message_of_the_engine(engine):
    with pytest.raises(LMStudioError, match="no token id") as refused:
        list(engine.stream_create_completion([10**6]))
    assert refused.value.status == 422


def test_an_id_with_a_slash_and_a_space_is_sent_as_it_is(engine):
    with pytest.raises(LMStudioError, match="'hooks/of mine'"):
        engine.delete_hook("hooks/of mine")


def test_a_client_is_told_of_the_progress_of_a_sweep(engine):
    task = {"clean": PROMPT, "corrupted": "The capital of Italy is"}
    choices = {"component": "residual", "layers": [3, 20], "positions": "each"}
    told = []

    async def asked():
        progress = told.append
        async with AsyncLMStudioNeuroScopeClient(engine.base_url, progress=progress) as client:
            return await client.patch_circuit(
                *task.values(), answer=" Paris", distractor=" Rome", **choices
            )

    screen = Console(file=StringIO(), force_terminal=True, width=60)
    with ProgressBar(screen) as bar, LMStudioNeuroScopeClient(engine.base_url, progress=bar) as one:
        found = one.patch_circuit(*task.values(), answer=" Paris", distractor=" Rome", **choices)
    whole = engine.patch_circuit(*task.values(), answer=" Paris", distractor=" Rome", **choices)
    assert found == whole == asyncio.run(asked())
    assert {(event["type"], event["total"]) for event in told} == {("progress", 2 * 5)}
    assert "/10" in screen.file.getvalue()


def test_the_hooks_of_one_client_are_not_those_of_another(engine):
    with (
        LMStudioNeuroScopeClient(engine.base_url) as one,
        LMStudioNeuroScopeClient(engine.base_url) as other,
        LMStudioNeuroScopeClient(engine.base_url, session=one.session) as same,
    ):
        one.register_hooks([HOOK | {"hook_id": "mine"}])
        assert "capture_id" in one.create_completion(PROMPT, max_tokens=1)
        assert "capture_id" not in other.create_completion(PROMPT, max_tokens=1)
        assert other.list_hooks() == {"hooks": []}
        assert same.delete_hooks() == {"removed_hooks": ["mine"]} != one.list_hooks()
