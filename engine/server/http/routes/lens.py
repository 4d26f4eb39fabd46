"""The logit lens: the likeliest tokens of each layer at each position."""

from typing import Any

from engine.analysis.logit_lens import logit_lens as engine_logit_lens
from engine.contract import schemas as s
from engine.lenses.lens import read_lens
from engine.server.http.prompts import prompt_tokens
from engine.server.http.requests import client, session
from engine.server.http.routes.models import permitted_path
from engine.server.http.steered import not_steered
from engine.server.http.top_tokens import top_tokens
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service


def logit_lens(service: Service, request: s.LogitLensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tokens = prompt_tokens(
        model, request.prompt, service.settings, special=request.add_special_tokens
    )

    path = None if request.lens is None else permitted_path(request.lens.path, service.settings)

    def work(job: Job) -> list[dict[str, Any]]:
        layers: list[dict[str, Any]] = []
        lens = None if request.lens is None or path is None else read_lens(request.lens.kind, path)
        for layer, logits in engine_logit_lens(model.kit, tokens, lens):
            job.report(len(layers) + 1, model.kit.structure.layers, "layers")
            job.checkpoint()
            top = [top_tokens(model, row, request.top_k) for row in logits]
            layers.append({"layer": layer, "top": top})
        return layers

    layers = service.worker.call(work, client())
    kind = "logit" if request.lens is None else request.lens.kind
    reply = {"kind": kind, "tokens": tokens, "texts": model.token_texts(tokens), "layers": layers}
    return reply | warnings(model, len(tokens), not_steered(service, model, session()))
