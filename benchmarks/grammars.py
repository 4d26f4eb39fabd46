"""What it costs that a grammar holds a text: seconds a token beside the same rows without one.

    python -m benchmarks.grammars

Rows with and without a JSON schema take turns, and each turn generates as many tokens, so that the
ratio does not depend on what else runs. One core's share: what the mask itself takes of a step.
"""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import click

from engine import load_model, tokenize
from engine.runs import grammars
from engine.runs.batch import Batch
from engine.runs.grammars import CompiledGrammar
from engine.runs.kit import ModelKit
from engine.runs.run import Run
from engine.runs.sampling import Sampling

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "city": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 40},
    },
    "required": ["name", "city", "tags"],
    "additionalProperties": False,
}
PROMPT = [{"role": "user", "content": "Describe a person as JSON: name, city, tags."}]


@click.command()
@click.option("--model", default="smollm2", show_default=True)
@click.option("--tokens", default=32, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(model: str, tokens: int, rounds: int) -> None:
    """Print seconds a token with and without a schema, at 1, 8 and 32 rows."""
    kit = load_model(model)
    began = perf_counter()
    compiler = kit.grammars
    print(f"reading all tokens, once a model: {perf_counter() - began:.2f} s")
    began = perf_counter()
    schema = compiler.compiled(grammars.json_schema(PERSON))
    print(f"compiling the schema, once: {(perf_counter() - began) * 1e3:.1f} ms")
    prompt = tokenize(kit, PROMPT)
    print(f"a mask: {mask_milliseconds(kit, schema, prompt):.3f} ms")
    print("rows  free ms/token  held ms/token  ratio")
    for rows in (1, 8, 32):
        for grammar in (None, schema):
            seconds(kit, prompt, rows, 2, grammar)
        pairs = [
            (seconds(kit, prompt, rows, tokens, None), seconds(kit, prompt, rows, tokens, schema))
            for _ in range(rounds)
        ]
        free, held = (median(times) * 1e3 / tokens / rows for times in zip(*pairs, strict=True))
        ratio = median(each / other for other, each in pairs)
        print(f"{rows:4}  {free:13.2f}  {held:13.2f}  {ratio:5.3f}")


def seconds(
    kit: ModelKit, prompt: Sequence[int], rows: int, tokens: int, grammar: CompiledGrammar | None
) -> float:
    """The time in which some rows get so many tokens each, their prompts left out."""
    batch = Batch(kit)
    runs = [
        Run(kit, prompt, [], Sampling(max_tokens=tokens + 1, grammar=grammar)) for _ in range(rows)
    ]
    for run in runs:
        batch.add(run)
    began = 0.0
    while batch.runs:
        outcomes = batch.advance()
        for _, outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        if outcomes and not began:
            began = perf_counter()
    return perf_counter() - began


def mask_milliseconds(kit: ModelKit, grammar: CompiledGrammar, prompt: Sequence[int]) -> float:
    """The median time to take in a token and to compute the next mask."""
    run = Run(kit, prompt, [], Sampling(max_tokens=40, grammar=grammar))
    batch = Batch(kit)
    batch.add(run)
    chosen = []
    while batch.runs:
        for _, outcome in batch.advance():
            if isinstance(outcome, Exception):
                raise outcome
            chosen.append(outcome[0].token)
    matcher = grammar.start.deep_copy()
    times = []
    for token in chosen:
        began = perf_counter()
        matcher.try_consume_tokens([token])
        matcher.compute_bitmask()
        times.append(perf_counter() - began)
    return median(times) * 1e3


if __name__ == "__main__":
    main()
