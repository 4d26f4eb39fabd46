"""Texts as vectors, in OpenAI's form."""

import base64
from functools import partial
from typing import Any

import numpy as np

from engine.analysis.embeddings import embeddings
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_total, prompts_of
from engine.server.http.requests import client, session
from engine.server.http.routes.models import requested_model
from engine.server.http.steered import not_steered
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service


def embed(service: Service, request: s.EmbeddingsRequest) -> dict[str, Any]:
    model = requested_model(service, request.model)
    width = model.kit.info.hidden_size
    if request.dimensions not in (None, width):
        raise ImpossibleError(
            f"dimensions: the model's vectors have {width} numbers and cannot be shortened.",
            "dimensions",
        )
    prompts = prompts_of(
        model, request.input, service.settings, "input", special=request.add_special_tokens
    )
    check_total(prompts, service.settings, "input")

    def work(job: Job) -> np.ndarray:
        sequences = [prompt.tokens for prompt in prompts]
        progress = partial(job.report, unit="texts")
        return embeddings(model.kit, sequences, request.layer, request.pooling, progress)

    vectors = service.worker.call(work, client())
    count = sum(len(prompt.tokens) for prompt in prompts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(vector, request)}
            for index, vector in enumerate(vectors)
        ],
        "model": model.id,
        "usage": {"prompt_tokens": count, "total_tokens": count},
        "layer": request.layer,
        "pooling": request.pooling,
        **warnings(
            model,
            max(len(prompt.tokens) for prompt in prompts),
            not_steered(service, model, session()),
        ),
    }


def _written(vector: np.ndarray, request: s.EmbeddingsRequest) -> np.ndarray | str:
    if request.encoding_format == "float":
        return vector
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
