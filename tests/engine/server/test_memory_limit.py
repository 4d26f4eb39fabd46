"""Over HTTP: what cannot fit into memory is refused with 507, and the server goes on."""

import gc
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from conftest import Server, running

from engine.machine.device import on_cpu
from engine.runs.footprint import WORKSPACE

TOKENS = [(37 * place + 11) % 90 + 3 for place in range(700)]
PAIR = {"clean": TOKENS, "corrupted": [*TOKENS[:-1], 9], "answer": 3, "distractor": 4}
HOOK = [{"layer_name": "*", "component": "attention_pattern"}]
BREAKPOINT = [{"layer_name": "0", "component": "residual"}]
ROUTES = [
    ("/v1/forward", {"prompt": TOKENS, "logits": "all"}),
    ("/v1/forward", {"tokens": [TOKENS] * 9, "activation_hooks": HOOK}),
    ("/v1/logit_lens", {"prompt": TOKENS}),
    ("/v1/completions", {"prompt": TOKENS, "max_tokens": 2}),
    ("/v1/completions", {"prompt": TOKENS, "max_tokens": 2, "stream": True}),
    ("/v1/completions/with_activations", {"prompt": TOKENS, "activation_hooks": HOOK}),
    ("/v1/circuits/patch", PAIR),
    ("/v1/circuits/patch", {**PAIR, "method": "attribution_patching"}),
    ("/v1/circuits/verify", {**PAIR, "circuit": [{"layer": 0, "component": "mlp"}]}),
    ("/v1/sessions", {"prompt": TOKENS, "breakpoints": BREAKPOINT}),
    (
        "/v1/completions/with_breakpoints",
        {"prompt": TOKENS, "max_tokens": 2, "breakpoints": BREAKPOINT},
    ),
]


@pytest.fixture
def small(tiny_model: Path) -> Iterator[Server]:
    """A server that may take a megabyte more than the tests before it left behind, and what a GPU
    takes for any pass."""
    before = mx.set_memory_limit(1 << 40)
    gc.collect()
    mx.clear_cache()
    room = 1_200_000 + (0 if on_cpu() else WORKSPACE)
    try:
        with running(tiny_model, memory_bytes=mx.get_active_memory() + room) as server:
            yield server
    finally:
        mx.set_memory_limit(before)


def test_every_route_refuses_what_cannot_fit(small: Server):
    for path, body in ROUTES:
        error = small.error(path, 507, **body)
        assert error["type"] == "not_enough_memory", path
        assert "of memory are available" in error["message"]
        assert "shorten the prompt" in error["message"]
        assert small.post("/v1/forward", prompt=TOKENS[:20])["tokens"] == [TOKENS[:20]]


def test_the_same_requests_are_served_where_they_fit(server: Server):
    for path, body in ROUTES[:1] + ROUTES[2:4] + ROUTES[6:9]:
        server.post(path, **body)
