"""A tiny random model on disk, and a whole server of it inside the test's process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models import llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from waitress import wasyncore

from engine.contract.schemas import LoadModelRequest
from engine.server.http.app import create_app
from engine.server.http.listener import Listener
from engine.server.service import Service, create_service
from engine.server.state.settings import Settings

LAYERS, HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 3, 4, 2, 8, 32
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of three layers with random weights, its tokens the bytes and an end of text."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    vocabulary = {byte: i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = TEMPLATE
    save_tiny_llama(folder, fast, vocab_size=len(fast))
    return folder


def save_tiny_llama(folder: Path, tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> None:
    """Save a llama of three layers with random weights, and its tokenizer, in a new folder."""
    folder.mkdir()
    tokenizer.save_pretrained(folder)
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 64,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocab_size,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id,
    }
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(0)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))


@dataclass
class Server:
    """A running server: its parts, and a client of it."""

    service: Service
    listener: Listener
    http: httpx.Client

    def post(self, path: str, **body: Any) -> Any:
        """The JSON answer of a request that must succeed."""
        response = self.http.post(path, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, path: str, status: int, **body: Any) -> dict[str, Any]:
        """The error of a request that must fail with `status`."""
        response = self.http.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()["error"]

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()


@contextmanager
def running(model: Path | None, **settings: Any) -> Iterator[Server]:
    """Serve `model` on a free port until the block is left."""
    service = create_service(Settings(version="test", port=0, **settings), on_death=lambda: None)
    listener = Listener(create_app(service), service.settings)
    loop = threading.Thread(target=listener.run, daemon=True)
    try:
        if model:
            request = LoadModelRequest(model_path=str(model))
            service.worker.call(lambda job: service.models.load(request))
        loop.start()
        # A connection that the server closes for idleness must not be the one of the next request.
        limits = httpx.Limits(keepalive_expiry=service.settings.client_patience / 2)
        with httpx.Client(base_url=listener.url, timeout=60, limits=limits) as http:
            yield Server(service, listener, http)
    finally:
        service.worker.stop(grace=10)
        listener.shutdown()
        listener.trigger.pull_trigger(lambda: wasyncore.close_all(listener._map))
        loop.join(10)


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Server]:
    with running(tiny_model, model_roots=(tiny_model.parent,)) as server:
        yield server
