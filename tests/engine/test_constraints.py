"""A text that a grammar holds is always one of the grammar's, for tokens of every kind."""

import json
import random
import re

import jsonschema
import mlx.core as mx
import numpy as np
import pytest
from tiny import tiny_kit
from tokenizer_kinds import KINDS, LOSSLESS, wrapped

from benchmarks.architectures import tiny_model
from engine import ActivationHookSpec, create_generator_with_activations
from engine.errors import GrammarError
from engine.runs import grammars
from engine.runs.batch import Batch
from engine.runs.kit import ModelKit
from engine.runs.run import Run
from engine.runs.sampling import Sampling
from engine.structure.resolver import resolve

ENDS = {"byte_level": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<eos>", "wordpiece": "[SEP]"}
PADDING = 7
"""Logits of the model that no token has."""
ITEM = {
    "type": "object",
    "properties": {"é 🙂": {"type": "integer"}},
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["größer", 3, None, True]},
        "size": {"type": "number", "minimum": -2, "maximum": 7},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 2},
    },
    "required": ["name", "kind", "size", "parts"],
    "additionalProperties": False,
    "$defs": {"part": ITEM},
}
DOUBLING = "start: T0\n" + "".join(f"T{n}: T{n + 1} T{n + 1}\n" for n in range(30)) + 'T30: "x"'
"""A terminal of 2 ** 30 letters."""
LETTERS = r" ?(Mary|John|true)( and (Mary|John)){0,3}\.?"


def kit_of(kind):
    tokenizer = wrapped(kind, eos_token=ENDS.get(kind, "</s>"))
    model = tiny_model("llama", vocab_size=len(tokenizer) + PADDING)
    return ModelKit(model, tokenizer, {}, kind, None, resolve(model))


@pytest.fixture(scope="module")
def kit():
    return kit_of("byte_level")


def written(kit, grammar, *, prompt="Mary", **options):
    """A text, and why it ended."""
    tokens = list(kit.tokenizer.encode(prompt, add_special_tokens=False))
    options = {"max_tokens": 400, "temperature": 1.0, "seed": 0} | options
    results = [
        result
        for result, _ in create_generator_with_activations(
            kit, tokens, grammar=kit.grammars.compiled(grammar), **options
        )
    ]
    return "".join(result.text for result in results), results[-1].finish_reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_regular_expression_matches_the_whole_text(kind):
    kit = kit_of(kind)
    spaced = LETTERS if kind in LOSSLESS else r"( (Mary|true)){1,4}"
    for seed in range(4):
        text, reason = written(kit, grammars.regex(spaced), seed=seed)
        assert (reason, bool(re.fullmatch(spaced, text))) == ("stop", True), text


@pytest.mark.parametrize("kind", LOSSLESS)
def test_json_parses_and_is_valid(kind):
    kit = kit_of(kind)
    for seed in range(2):
        text, reason = written(kit, grammars.json_schema(SCHEMA), seed=seed)
        assert reason == "stop"
        jsonschema.validate(json.loads(text), SCHEMA)


def schema(draw, depth=0):
    """A random schema that texts of some length fulfil."""
    kinds = ["string", "integer", "number", "boolean", "enum", "const", "pattern"]
    kind = draw.choice(kinds + ["object", "array", "anyOf"] * (depth < 2))
    if kind == "string":
        return {"type": kind, "minLength": draw.randint(0, 2), "maxLength": draw.randint(2, 8)}
    if kind == "pattern":
        return {"type": "string", "pattern": draw.choice(["^[a-f]{1,4}$", r"^\d{2}-(ä|🙂)$"])}
    if kind in ("integer", "number"):
        low = draw.randint(-50, 50)
        return {"type": kind, "minimum": low, "exclusiveMaximum": low + draw.randint(1, 90)}
    if kind == "enum":
        return {"enum": draw.sample(["a", "ü\n", '"', 0, -1.5, None, False, {"x": [1]}], 3)}
    if kind == "const":
        return {"const": draw.choice(["\\", "日本", [1, "b"], {"k": None}])}
    if kind == "array":
        items = schema(draw, depth + 1)
        return {"type": kind, "items": items, "minItems": 1, "maxItems": draw.randint(1, 3)}
    if kind == "anyOf":
        return {kind: [schema(draw, depth + 1), schema(draw, depth + 1)]}
    if kind == "boolean":
        return {"type": draw.choice(["boolean", "null"])}
    names = draw.sample(["a", "b/c", "é", "n m", '"q"'], draw.randint(1, 4))
    more = {"type": "integer", "minimum": 0, "maximum": 9}
    return {
        "type": "object",
        "properties": {name: schema(draw, depth + 1) for name in names},
        "required": names[: draw.randint(0, len(names))],
        "additionalProperties": draw.choice([False, more]),
    }


def test_random_schemas_are_fulfilled_by_whatever_ends(kit):
    draw = random.Random(0)
    ended = 0
    for seed in range(30):
        asked = schema(draw)
        text, reason = written(kit, grammars.json_schema(asked), seed=seed, max_tokens=150)
        if reason == "stop":
            jsonschema.validate(json.loads(text), asked)
            ended += 1
    assert ended >= 20


def test_a_key_is_written_in_one_way_alone(kit):
    asked = {"type": "object", "properties": {"a/b": {"type": "integer"}}}
    start = kit.grammars.compiled(grammars.json_schema(asked)).start
    for text, is_valid in (
        ('{"a/b":1}', True),
        (r'{"a\/b":"x"}', False),
        (r'{"\u0061/b":"x"}', False),
    ):
        tokens = kit.tokenizer.encode(text, add_special_tokens=False)
        matcher = start.deep_copy()
        assert (matcher.try_consume_tokens(tokens) == len(tokens)) == is_valid


def test_a_text_that_is_cut_off_says_so(kit):
    text, reason = written(kit, grammars.json_schema(SCHEMA), max_tokens=9)
    assert (reason, text[:1]) == ("length", "{")
    with pytest.raises(ValueError, match=r"char \d"):
        json.loads(text)


def test_what_is_chosen_is_the_likeliest_of_what_is_allowed(kit):
    """And what is captured, the model's own logits."""
    tokens = list(kit.tokenizer.encode("Mary", add_special_tokens=False))
    allowed = {kit.tokenizer.encode(each, add_special_tokens=False)[0] for each in ("xa", "yb")}
    compiled = kit.grammars.compiled(grammars.choice(["xa", "yb"]))
    hooks = [ActivationHookSpec("*", "logits")]
    steps = create_generator_with_activations(
        kit, tokens, hooks, max_tokens=1, grammar=compiled, top_logprobs=5
    )
    ((result, activations),) = steps
    own = np.array(kit.model(mx.array([tokens]))[0, -1])
    ((captured,),) = activations.values()
    np.testing.assert_allclose(captured.data[0, -1], own, atol=1e-5)
    assert int(np.argmax(own)) not in allowed
    assert result.token == max(allowed, key=lambda token: own[token])
    among = own[list(allowed)]
    expected = own[result.token] - np.log(np.exp(among).sum())
    assert result.logprob == pytest.approx(expected, abs=1e-5)


def test_rows_with_and_without_grammars_are_those_alone(kit):
    tokens = list(kit.tokenizer.encode("John", add_special_tokens=False))
    compiled = kit.grammars.compiled(grammars.json_schema(SCHEMA))
    words = kit.grammars.compiled(grammars.regex(LETTERS))
    asked = [
        Sampling(max_tokens=40, temperature=1.0, seed=1, grammar=compiled, presence_penalty=1.0),
        Sampling(max_tokens=40, temperature=1.0, seed=1),
        Sampling(max_tokens=40, temperature=1.5, seed=2, grammar=words, top_logprobs=3),
        Sampling(max_tokens=40, temperature=1.5, seed=3, grammar=compiled, stop_strings=('"kind',)),
    ]
    together = texts(kit, tokens, asked)
    assert together == [texts(kit, tokens, [one])[0] for one in asked]
    assert together[0].startswith("{")
    assert re.fullmatch(LETTERS, together[2])
    assert together[3].startswith("{")
    assert '"kind' not in together[3]


def texts(kit, tokens, asked):
    """The texts of some runs that share their passes."""
    batch = Batch(kit)
    runs = [Run(kit, tokens, [], sampling) for sampling in asked]
    for run in runs:
        batch.add(run)
    found = dict.fromkeys(runs, "")
    while batch.runs:
        for run, outcome in batch.advance():
            assert not isinstance(outcome, Exception), outcome
            found[run] += outcome[0].text
    return list(found.values())


def test_rejected_drafts_leave_the_grammar_where_it_was(kit):
    draft = tiny_model("llama", vocab_size=kit.info.vocab_size, num_hidden_layers=1)
    asked = grammars.json_schema(SCHEMA)
    alone = written(kit, asked, temperature=0.0)
    assert written(kit, asked, temperature=0.0, draft_model=draft) == alone


def test_it_holds_from_behind_the_thinking(kit):
    end = tuple(kit.tokenizer.encode(" and", add_special_tokens=False))
    compiled = kit.grammars.compiled(grammars.regex("(xy){2,4}")).behind(end)
    tokens = list(kit.tokenizer.encode("Mary", add_special_tokens=False))
    sampling = Sampling(max_tokens=4000, temperature=1.0, seed=3, grammar=compiled)
    (text,) = texts(kit, tokens, [sampling])
    thought, _, answer = text.partition(" and")
    assert thought
    assert re.fullmatch("(xy){2,4}", answer)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        (lambda: grammars.json_schema({"not": {"type": "string"}}), "Unimplemented keys"),
        (lambda: grammars.json_schema({"$ref": "https://127.0.0.1/schema"}), "does not fetch"),
        (lambda: grammars.json_schema({"type": "object", "minProperties": 3}), "minProperties"),
        (lambda: grammars.json_schema({"type": "integer", "minimum": 2, "maximum": 1}), "minimum"),
        (lambda: grammars.json_schema({"enum": ["x" * 100_000]}), "at most 50000 are compiled"),
        (lambda: grammars.json_schema({"const": "\ud800"}), "hex escape"),
        (lambda: grammars.regex("(?=a)b"), "look-around"),
        (lambda: grammars.lark(DOUBLING), "too big"),
        (lambda: grammars.lark("start: missing"), "unknown name"),
        (lambda: grammars.lark('{"grammars": []}'), "trailing characters"),
        (lambda: grammars.lark('start: "\ud800"'), "Unicode"),
    ],
)
def test_what_cannot_be_compiled_says_why(kit, grammar, reason):
    with pytest.raises(GrammarError, match=reason):
        kit.grammars.compiled(grammar())


def test_what_no_token_can_go_on_with_is_an_error():
    kit = kit_of("unigram")
    with pytest.raises(GrammarError, match="none of the model's tokens"):
        kit.grammars.compiled(grammars.json_schema(SCHEMA))
    with pytest.raises(GrammarError, match="none of the model's tokens"):
        written(kit, grammars.regex(" Mary[{]"))
    with pytest.raises(GrammarError, match="no token that ends a text"):
        tiny_kit("llama").grammars.compiled(grammars.regex("a"))


def test_what_is_compiled_is_kept_within_a_bound(kit, monkeypatch):
    monkeypatch.setattr(grammars, "MOST_KEPT", 2)
    first = kit.grammars.compiled(grammars.regex("first"))
    assert kit.grammars.compiled(grammars.regex("first")) is first
    for other in ("second", "third"):
        kit.grammars.compiled(grammars.regex(other))
    assert kit.grammars.compiled(grammars.regex("first")) is not first


def test_a_grammar_that_takes_too_long_is_given_up(kit, monkeypatch):
    monkeypatch.setattr(grammars, "PATIENCE", 0.001)
    slow = {"properties": {f"{n:x}": {} for n in range(1500)}}
    with pytest.raises(GrammarError, match=r"not compiled within 0\.001 seconds"):
        kit.grammars.compiled(grammars.json_schema(slow))
