"""Two ranks serve what one process does, to many clients at once, and end together."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.engine.test_ranks import LAUNCH

ROOT = Path(__file__).parents[3]
STARTED = re.compile(r"listening on (\S+)")


@dataclass
class Ranks:
    """A server of two ranks: the launcher's process, and a client."""

    process: subprocess.Popen[str]
    http: httpx.Client
    log: Path

    @property
    def ranks(self) -> list[psutil.Process]:
        """The processes of the ranks, the first one first."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        serving = [each for each in below if "serve" in each.cmdline()]
        return sorted(serving, key=lambda each: int(each.environ()["MLX_RANK"]))


@contextmanager
def two_ranks(model: Path, log: Path) -> Iterator[Ranks]:
    command = [
        *(*LAUNCH, "-n", "2", "--backend", "ring"),
        *(sys.executable, "-m", "bridge", "serve", "--parallel", "tensor"),
        *("--model", model, "--port", "0", "--model-root", model.parent),
    ]
    with log.open("w") as out:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, "NEUROSCOPE_TOKEN": ""},
            stdin=subprocess.PIPE,  # kept open: the launcher reads one at its end over and over
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        with httpx.Client(base_url=_address(process, log), timeout=60) as http:
            yield Ranks(process, http, log)
    finally:
        below = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.kill()
        for each in below:
            if each.is_running():
                each.kill()
        process.wait()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    for _ in range(1200):
        if found := STARTED.search(log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def ranks(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with two_ranks(tiny_model, tmp_path_factory.mktemp("ranks") / "log") as served:
        yield served


@pytest.fixture(scope="module")
def both(ranks: Ranks, server):
    """The reply of two ranks, once it is compared with that of one process."""

    def ask(path: str, **body: Any) -> Any:
        spread = ranks.http.post(path, json=body)
        alone = server.http.post(path, json=body)
        assert spread.status_code == alone.status_code, spread.text
        return _alike(spread.json(), alone.json(), path)

    return ask


def _alike(spread: Any, alone: Any, where: str) -> Any:
    """The first of two replies, which say the same but for ids, times and rounding."""
    assert type(spread) is type(alone), where
    if isinstance(spread, dict):
        assert spread.keys() == alone.keys(), where
        for key in spread:
            if not re.search(r"(^|_)id$|^created$|stats|seconds|bytes", key):
                _alike(spread[key], alone[key], f"{where} {key}")
    elif isinstance(spread, list):
        assert len(spread) == len(alone), where
        if spread and isinstance(spread[0], float):
            np.testing.assert_allclose(spread, alone, rtol=1e-4, atol=1e-5, err_msg=where)
        else:
            for place, pair in enumerate(zip(spread, alone, strict=True)):
                _alike(*pair, f"{where} {place}")
    elif isinstance(spread, float):
        assert spread == pytest.approx(alone, rel=1e-4, abs=1e-5), where
    else:
        assert spread == alone, where
    return spread


HOOKS = [
    {"layer_name": "*", "component": each}
    for each in ("residual", "query", "attention_pattern", "head_output", "mlp_hidden")
]


def test_captures_and_interventions_are_those_of_one_process(both) -> None:
    body: dict[str, Any] = {"prompt": "hello there", "activation_hooks": HOOKS}
    plain = both("/v1/forward", activation_format="array", **body)
    change = {"layer_name": "1", "component": "head_output", "operation": "ablation", "heads": [3]}
    changed = both("/v1/forward", interventions=[change], activation_format="array", **body)
    assert changed["logits"] != plain["logits"]
    both("/v1/forward", prompt="hello", interventions=[change | {"heads": [4]}])  # the same error
    body |= {"max_tokens": 4, "temperature": 0, "activation_format": "array"}
    both("/v1/completions/with_activations", **body)
    both("/v1/logit_lens", prompt="hello there", top_k=3)
    both("/v1/gradients", prompt="hello", target={"tokens": [5]}, activation_format="array")


def test_what_a_request_left_is_there_for_the_next_one(ranks: Ranks, server, both) -> None:
    spec = {"layer_name": "2", "component": "attention", "hook_id": "kept"}
    both("/v1/activations/hooks", hooks=[spec])
    body = {"prompt": "again", "max_tokens": 2, "temperature": 0, "activation_format": "array"}
    assert "kept" in both("/v1/completions/with_activations", **body)["activations"]
    for http in (ranks.http, server.http):
        assert http.delete("/v1/activations/hooks/kept").status_code == 200
    kept = ranks.http.post("/v1/forward", json={"prompt": "ab", "activation_hooks": HOOKS[:1]})
    capture = kept.json()["capture_id"]
    change = {
        **{"layer_name": "0", "component": "residual", "operation": "patching"},
        **{"capture_id": capture, "hook_id": "layer_0_residual"},
    }
    patched = ranks.http.post("/v1/forward", json={"prompt": "xy", "interventions": [change]})
    assert patched.status_code == 200, patched.text


def test_a_session_goes_on_with_what_its_client_makes(ranks: Ranks) -> None:
    form = {"prompt": "abc", "logits": "last", "activation_format": "array"}
    point = {"layer_name": "1", "component": "head_output", "heads": [3]}
    begun = ranks.http.post(
        "/v1/sessions", json={"breakpoints": [point], "breakpoint_format": "array", **form}
    ).json()
    value = np.zeros_like(np.array(begun["breakpoint"]["data"]))
    changed = {"shape": value.shape, "data": value.tolist()}
    ended = ranks.http.post(f"/v1/sessions/{begun['session_id']}", json={"value": changed})
    assert ended.status_code == 200, ended.text
    body = form | {"interventions": [point | {"operation": "ablation"}]}
    wanted = ranks.http.post("/v1/forward", json=body).json()
    assert ended.json()["result"]["logits"] == wanted["logits"]


def test_many_clients_share_passes(ranks: Ranks, server) -> None:
    def ask(http: httpx.Client, number: int) -> str:
        body = {"prompt": "go " * (number + 1), "max_tokens": 12, "temperature": 0, "seed": number}
        if number % 3 == 0:
            sampled = http.post("/v1/completions", json=body | {"temperature": 1.0, "seed": None})
            assert sampled.status_code == 200, sampled.text
        return str(http.post("/v1/completions", json=body).json()["choices"][0]["text"])

    with ThreadPoolExecutor(6) as pool:
        texts = list(pool.map(lambda number: ask(ranks.http, number), range(12)))
    assert texts == [ask(server.http, number) for number in range(12)]


def test_a_client_that_leaves_disturbs_nobody(ranks: Ranks, both) -> None:
    body = {"prompt": "long", "max_tokens": 400, "temperature": 0, "stream": True}
    with ranks.http.stream("POST", "/v1/completions", json=body) as stream:
        next(stream.iter_lines())
    both("/v1/completions", prompt="after", max_tokens=5, temperature=0)


def test_all_end_where_one_does(tiny_model: Path, tmp_path: Path) -> None:
    with two_ranks(tiny_model, tmp_path / "log") as served:
        body = {"prompt": "long", "max_tokens": 2000, "temperature": 0, "stream": True}
        body |= {"activation_hooks": HOOKS, "activation_format": "array"}
        first, second = served.ranks
        path = "/v1/completions/with_activations"
        events: list[str] = []
        with served.http.stream("POST", path, json=body) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    events.append(line.removeprefix("data: "))
                    if len(events) == 3:
                        os.kill(second.pid, signal.SIGKILL)
                        killed = time.monotonic()
                if "rank_ended" in line:
                    health = served.http.get("/health").json()
        assert "Rank 1 has ended" in json.loads(events[-1])["error"]["message"]
        assert health["status"] == "failed"
        first.wait(10)  # which raises if it goes on
        assert time.monotonic() - killed < 10
