"""The Smalltalk beside the pictures of the server's page computes what the API returns."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record, to_value
from engine.server.http.page_files import FOLDER
from systems import System, answer

PROMPT = "The cat's"
TASK = {"clean": "Mary", "corrupted": "John", "answer": " is", "distractor": " has"}
CHANGE = {"layer_name": "10", "component": "mlp", "operation": "scaling", "factor": 0.5}
DIRECTION: dict[str, Any] = {"from": "I hate", "to": "I love", "layer": 10, "strength": 6}
PROGRAM = """
globalThis.location = {{ origin: {origin} }};
globalThis.sessionStorage = {{ getItem: () => null }};
const from = (name) => import({folder} + name);
const made = await from('requests.js');
const codes = Object.assign({{}}, ...await Promise.all(
  ['prompt', 'component', 'attention', 'lens', 'steer', 'sweep']
    .map((name) => from(`snippets/${{name}}.js`))));
const model = {model}, prompt = {prompt};
const steered = made.steeredOf(model, prompt, 4, [{change}]);
console.log(JSON.stringify([
  codes.tokensCode(made.tokensOf(model, prompt)),
  codes.componentCode(made.componentOf(model, prompt, 'residual'), [1]),
  codes.componentCode(made.componentOf(model, prompt, 'head_output'), [0, 2]),
  codes.componentCode(made.componentOf(model, prompt, 'final_norm'), [1]),
  codes.attentionCode(made.attentionOf(model, prompt, 15), 15),
  codes.lensCode(made.lensOf(model, prompt)),
  codes.scaledCode(steered),
  codes.directedCode(steered, {direction}),
  codes.sweepCode(made.sweepOf(model, {task}, 'attribution_patching'), '0.1'),
].map((each) => each.smalltalk)));
"""
ASKED = (
    "{} first",
    "{} grids first data asArray",
    "{} grids first data asArray",
    "{} data asArray",
    "{} grids collect: [:each | each data asArray]",
    "{}",
    "{}",
    "{}",
    "{} grids first data asArray",
)
"""What each snippet's last expression is asked for."""


def snippets(engine: LMStudioNeuroScopeClient) -> list[str]:
    """The code that the page shows, made by its own modules."""
    values = {
        "origin": engine.base_url,
        "folder": f"{Path(FOLDER).as_uri()}/",
        "model": engine.health()["model"],
        "prompt": PROMPT,
        "change": CHANGE,
        "direction": DIRECTION,
        "task": TASK,
    }
    program = PROGRAM.format(**{name: json.dumps(value) for name, value in values.items()})
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def value(system: System, code: str, of_last: str) -> Any:
    """What something that is asked of a snippet's last expression returns."""
    start, last = code.rsplit(".\n", 1)
    temporaries, statements = start.split("\n", 1)
    before = statements.replace(".\n", ";;")
    return answer(system, f"{temporaries} {before};;{of_last.format(f'({last})')}")


def norms(engine: LMStudioNeuroScopeClient, layer: str, name: str) -> np.ndarray:
    """The norms of a component at each position, layer by layer."""
    hooks = [{"layer_name": layer, "component": name}]
    records = engine.forward(PROMPT, hooks)["activations"].values()
    arrays = [from_record(each[0], {})[0] for each in records]
    axes = (0, 2) if arrays[0].ndim == 3 else 1
    return np.array([np.linalg.norm(array, axis=axes) for array in arrays]).ravel()


def text_of(engine: LMStudioNeuroScopeClient, changes: list) -> str:
    reply = engine.create_completion_with_activations(
        PROMPT, [], max_tokens=4, interventions=changes
    )
    return reply["choices"][0]["text"]


def addition(engine: LMStudioNeuroScopeClient) -> dict[str, Any]:
    """The direction between the ends of two texts, times its strength, added to the stream."""
    place = {"layer_name": str(DIRECTION["layer"]), "component": "residual"}
    ends = []
    for text in (DIRECTION["from"], DIRECTION["to"]):
        (records,) = engine.forward(text, [place])["activations"].values()
        ends.append(from_record(records[0], {})[0, -1])
    value = to_value(DIRECTION["strength"] * (ends[1] - ends[0]))
    return {**place, "operation": "addition", "value": value}


@pytest.mark.parametrize("system", ["amber"], indirect=True)
def test_the_smalltalk_beside_each_picture_computes_it(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    texts, residual, heads, final, attention, lens, scaled, directed, effects = (
        value(system, *each) for each in zip(snippets(engine), ASKED, strict=True)
    )
    assert texts == engine.tokenize(PROMPT)["texts"]
    np.testing.assert_allclose(residual, norms(engine, "*", "residual"), rtol=1e-4)
    np.testing.assert_allclose(heads, norms(engine, "*", "head_output"), rtol=1e-4)
    np.testing.assert_allclose(final, norms(engine, "final_norm", "final_norm"), rtol=1e-4)
    hooks = [{"layer_name": "15", "component": "attention_pattern"}]
    (records,) = engine.forward(PROMPT, hooks)["activations"].values()
    pattern = from_record(records[0], {})[0]
    np.testing.assert_allclose(attention, pattern.reshape(len(pattern), -1), atol=1e-5)
    assert len(lens.splitlines()) == 30
    plain = text_of(engine, [])
    assert scaled == [plain, text_of(engine, [CHANGE])]
    steered = text_of(engine, [addition(engine)])
    assert directed == [plain, steered]
    assert plain != steered
    found = engine.patch_circuit(**TASK, component="head_output", method="attribution_patching")
    np.testing.assert_allclose(effects, np.ravel(found["effects"]["data"]), atol=1e-3)
