"""What must be so of a running engine, each tried on the spot."""

from collections.abc import Iterator

import numpy as np

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.demo.analysis import Check
from bridge.errors import LMStudioError
from bridge.neuroscope import NeuroScopeActivationBridge
from bridge.wire import from_record

PROMPT = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
ANSWER, DISTRACTOR = " Mary", " John"
TOKENS = 8
ROUNDING = 1e-5
"""How far a sum may be from what was captured, relative to the largest value."""


def engine(client: LMStudioNeuroScopeClient) -> Iterator[Check]:
    """That the engine is ready, and that what it captures fits together."""
    yield _check("ready", True, client.health()["ready"])
    tokens = client.tokenize(PROMPT)
    yield _check("tokens back to the text", PROMPT, client.detokenize(tokens["tokens"])["text"])
    plain = client.create_completion(PROMPT, max_tokens=TOKENS, temperature=0)
    hooks: list[api.HookSpec] = [{"layer_name": "*", "component": "residual"}]
    hooked = client.create_completion_with_activations(
        PROMPT, hooks, max_tokens=TOKENS, temperature=0, activation_format="metadata"
    )
    yield _check(
        "the same text with hooks as without",
        plain["choices"][0]["text"],
        hooked["choices"][0]["text"],
    )
    names = ("residual_mid", "mlp", "residual", "attention_pattern")
    seen = {name: _captured(client, name) for name in names}
    added = seen["residual_mid"] + seen["mlp"]
    off = np.abs(added - seen["residual"]).max() / np.abs(added).max()
    yield _within("residual_mid + mlp = residual, in layer 0", off)
    sums = seen["attention_pattern"].sum(axis=-1)
    yield _within("each head's attention sums to 1", np.abs(sums - 1).max())


def rest_interface(client: LMStudioNeuroScopeClient) -> Iterator[Check]:
    """That each kind of request is answered, and a wrong one refused in words."""
    model = client.health()["model"] or ""
    entries = [entry["id"] for entry in client.list_models()["data"]]
    yield Check(
        name="GET /v1/models", expected=model, found=", ".join(entries), passed=model in entries
    )
    usage = client.create_completion(PROMPT, max_tokens=1)["usage"]
    counted = len(client.tokenize(PROMPT)["tokens"])
    yield _check("POST /v1/completions, prompt tokens", counted, usage["prompt_tokens"])
    chat = client.create_chat_completion([{"role": "user", "content": "Hello"}], max_tokens=4)
    yield _check(
        "POST /v1/chat/completions, role", "assistant", chat["choices"][0]["message"]["role"]
    )
    top = client.forward(PROMPT, top_k=1)["top"][0][0]["text"]
    yield _check("POST /v1/forward, likeliest token", ANSWER, top)
    lens = client.logit_lens(PROMPT, top_k=1)["layers"]
    yield _check("POST /v1/logit_lens, last layer", top, lens[-1]["top"][-1][0]["text"])
    try:
        client.forward(PROMPT, [{"layer_name": "9999", "component": "residual"}])
        found = "no error"
    except LMStudioError as error:
        found = str(error)
    yield Check(
        name="a layer that is not there",
        expected="an error that names the layers that there are",
        found=found,
        passed="layers 0 to" in found,
    )


def streaming(client: LMStudioNeuroScopeClient) -> Iterator[Check]:
    """That a stream brings the same text and the same activations, token by token."""
    hooks: list[api.HookSpec] = [{"layer_name": "0", "component": "residual"}]
    whole = client.create_completion_with_activations(
        PROMPT, hooks, max_tokens=TOKENS, temperature=0
    )
    events = list(
        client.stream_create_completion_with_activations(
            PROMPT, hooks, max_tokens=TOKENS, temperature=0
        )
    )
    text = "".join(choice["text"] for event in events for choice in event["choices"])
    yield _check("the text of all events", whole["choices"][0]["text"], text)
    expected = [from_record(r, {}) for r in whole["activations"]["layer_0_residual"]]
    found = [
        from_record(record, {})
        for event in events
        for record in event["activations"].get("layer_0_residual", [])
    ]
    yield _check("forward passes with an activation", len(expected), len(found))
    off = max(np.abs(a - b).max() for a, b in zip(expected, found, strict=True))
    yield _within("their activations", off)


def integration(client: LMStudioNeuroScopeClient) -> Iterator[Check]:
    """That captures go to NeuroScope's layout and back, and that a found head matters."""
    hooks = NeuroScopeActivationBridge.create_hook_specs_for_circuit_analysis(1)
    sent = client.forward(PROMPT, hooks, activation_format="base64")["activations"]
    records = NeuroScopeActivationBridge.convert_activations_for_neuroscope(sent)
    back = NeuroScopeActivationBridge.convert_activations_from_neuroscope(records)
    same = all(
        before.get("data_base64") == after.get("data_base64")
        for hook_id in sent
        for before, after in zip(sent[hook_id], back[hook_id], strict=True)
    )
    yield _check("to NeuroScope's records and back, bit for bit", True, same)
    swept = client.patch_circuit(PROMPT, CORRUPTED, ANSWER, DISTRACTOR, component="head_output")
    effects = from_record(swept["effects"], {})
    row, head = np.unravel_index(effects.argmax(), effects.shape)
    layer = (swept["layers"] or [])[int(row)]
    ablated = client.forward(
        PROMPT,
        interventions=[
            {
                "layer_name": str(layer),
                "component": "head_output",
                "operation": "ablation",
                "heads": [int(head)],
            }
        ],
        logits="last",
    )
    before = swept["clean_score"]
    after = _difference(client, ablated)
    yield Check(
        name=f"ablating L{layer}H{head}, which restores most of the answer when patched",
        expected=f"the logit difference falls below {before:.4f}",
        found=f"{after:.4f}",
        passed=after < before,
    )


def _difference(client: LMStudioNeuroScopeClient, result: api.Forward) -> float:
    logits = result["logits"]
    assert logits is not None  # asked for
    last = from_record(logits, {})[0, -1]
    answer, distractor = (client.tokenize(t)["tokens"][0] for t in (ANSWER, DISTRACTOR))
    return float(last[answer] - last[distractor])


def _captured(client: LMStudioNeuroScopeClient, component: str) -> np.ndarray:
    hook: api.HookSpec = {"layer_name": "0", "component": component}
    result = client.forward(PROMPT, [hook], activation_format="base64")
    return from_record(next(iter(result["activations"].values()))[0], {})


def _check(name: str, expected: object, found: object) -> Check:
    return Check(name=name, expected=str(expected), found=str(found), passed=expected == found)


def _within(name: str, off: float) -> Check:
    return Check(
        name=name,
        expected=f"at most {ROUNDING:g} off",
        found=f"{off:.3g} off",
        passed=bool(off <= ROUNDING),
    )
