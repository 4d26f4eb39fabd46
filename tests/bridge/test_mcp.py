"""The endpoint's operations as tools, called by the protocol's own client over a child's pipes."""

import asyncio
import json
import sysconfig
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from mcp import Client, StdioServerParameters

from bridge.client import LMStudioNeuroScopeClient
from bridge.mcp.readable import MOST_NUMBERS, described
from bridge.mcp.tools import operations
from bridge.resources import OPENAPI
from bridge.wire import from_record

DOCUMENT = json.loads(OPENAPI.read_text(encoding="utf-8"))
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "neuroscope-bridge")
PROMPT = "When Mary and John went to the store, John gave a drink to"


def called(url: str, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """Start the program, call tools one after the other; whether each failed, and its text."""

    async def run() -> list[tuple[bool, str]]:
        program = StdioServerParameters(command=PROGRAM, args=["mcp", "--url", url])
        async with Client(program, read_timeout_seconds=120) as client:
            replies = [await client.call_tool(name, arguments) for name, arguments in calls]
        return [(reply.is_error, reply.content[0].text) for reply in replies]

    return asyncio.run(run())


def test_each_operation_but_the_document_s_own_is_a_tool():
    identifiers = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
    ]
    tools = operations(DOCUMENT)
    assert len(tools) == len(identifiers) - 1
    names = {tool.name.replace("_", "") for tool in tools}
    assert names == {each.lower() for each in identifiers} - {"openapi"}


@pytest.mark.parametrize("tool", operations(DOCUMENT), ids=lambda tool: tool.name)
def test_a_tool_s_schema_is_a_schema_and_no_argument_has_two_places(tool):
    jsonschema_rs.validator_for(dict(tool.schema))
    item = DOCUMENT["paths"][tool.route][tool.method.lower()]
    parameters = {parameter["name"] for parameter in item.get("parameters", ())}
    assert parameters == {name for name, place in tool.places.items() if place != "body"}
    assert tool.description
    assert not {"stream", "stream_options"} & set(tool.places)


def test_tools_answer_what_the_endpoint_does(engine: LMStudioNeuroScopeClient):
    hooks = [{"layer_name": "3", "component": "residual", "positions": [-1]}]
    (model,) = engine.list_models()["data"]
    replies = called(
        engine.base_url,
        ("list_models", {}),
        ("forward", {"prompt": PROMPT, "activation_hooks": hooks, "top_k": 3}),
        ("read_weight", {"model_id": model["id"], "name": "W_Q", "layer": 2, "head": 1}),
    )
    assert not [text for failed, text in replies if failed]
    models, forward, weight = (json.loads(text) for _, text in replies)
    assert models["data"][0]["id"] == model["id"]
    expected = engine.forward(PROMPT, hooks, top_k=3)
    assert forward["top"] == expected["top"]
    (record,) = forward["activations"]["layer_3_residual"]
    assert "data_base64" not in json.dumps(forward["activations"])
    array = from_record(expected["activations"]["layer_3_residual"][0], {})
    assert record["norm"] == pytest.approx(np.linalg.norm(array), rel=1e-5)
    first = record["largest_by_magnitude"][0]
    assert first["value"] == pytest.approx(array[tuple(first["index"])], rel=1e-5)
    assert abs(first["value"]) == pytest.approx(np.abs(array).max(), rel=1e-5)
    whole = engine.read_weight(name="W_Q", model_id=model["id"], layer=2, head=1)["W_Q"]
    assert weight["W_Q"]["shape"] == list(whole.shape)
    assert weight["W_Q"]["mean"] == pytest.approx(whole.mean(), rel=1e-3)


def test_what_is_refused_is_the_tool_s_error(engine: LMStudioNeuroScopeClient):
    replies = called(
        engine.base_url,
        (
            "forward",
            {
                "prompt": PROMPT,
                "activation_hooks": [{"layer_name": "99", "component": "mlp"}],
            },
        ),
        ("forward", {"prompt": PROMPT, "hooks": []}),
        ("read_weight", {"name": "W_Q"}),
        ("forwards", {}),
    )
    assert all(failed for failed, _ in replies)
    texts = [text for _, text in replies]
    assert "layers 0 to 29" in texts[0]
    assert "no argument 'hooks'; it has activation_hooks" in texts[1]
    assert "needs the argument 'model_id'" in texts[2]
    assert "no tool 'forwards'" in texts[3]


def test_an_engine_that_is_not_there_is_said():
    ((failed, text),) = called("http://127.0.0.1:9", ("list_models", {}))
    assert failed
    assert "http://127.0.0.1:9" in text
    assert "neuroscope-bridge serve" in text


def test_few_numbers_are_written_out_and_many_described():
    few = np.arange(MOST_NUMBERS, dtype="f4").reshape(2, -1) / 3
    np.testing.assert_allclose(described(few)["values"], few, rtol=1e-5)
    many = np.zeros((3, MOST_NUMBERS), "f4")
    many[2, 7], many[0, 1] = -5, 4
    found = described(many)
    assert found["largest_by_magnitude"][:2] == [
        {"index": [2, 7], "value": -5.0},
        {"index": [0, 1], "value": 4.0},
    ]
    assert (found["least"], found["greatest"]) == (-5.0, 4.0)
    assert described(np.array([-np.inf]))["values"] == ["-inf"]
