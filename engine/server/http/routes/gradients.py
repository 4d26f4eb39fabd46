"""Gradients of a target, at hook points and by token."""

from dataclasses import replace
from typing import Any

from flask import Response

from engine.analysis.saliency import Baseline, Saliency, saliency
from engine.analysis.target import Target
from engine.captures.hooks import resolve_hooks
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http import specs
from engine.server.http.prompts import one_token, prompt_tokens
from engine.server.http.requests import session
from engine.server.http.steered import not_steered
from engine.server.http.sweeps import Sweep
from engine.server.http.warnings import warnings
from engine.server.service import Service
from engine.server.state.captures import new_capture
from engine.server.state.models import LoadedModel
from engine.server.wire.records import activations_json


def gradients(service: Service, request: s.GradientsRequest) -> dict[str, Any] | Response:
    model = service.models.get(request.model)
    tokens = prompt_tokens(
        model, request.prompt, service.settings, special=request.add_special_tokens
    )
    target, asker = _target(model, request.target), session()
    if any(hook.feature_set is not None for hook in request.hooks):
        raise ImpossibleError(
            "hooks: gradients are by the values of components, not by features; hook what the set "
            "writes, and multiply by its decoder",
            "hooks",
        )
    hooks = resolve_hooks(specs.hook_specs(request.hooks, model), model.kit.structure)
    baseline = _baseline(service, model, request, len(tokens))
    steps = 0 if request.integrated is None else request.integrated.steps

    def reply(found: Saliency) -> dict[str, Any]:
        capture = replace(new_capture(model.id), activations=found.gradients)
        service.captures.add(capture)
        return {
            "tokens": tokens,
            "texts": model.token_texts(tokens),
            "score": found.score,
            "capture_id": capture.capture_id,
            "gradients": activations_json(found.gradients, request.activation_format),
            "saliency": {
                "gradient_x_input": found.gradient_x_input.tolist(),
                "norm": found.norm.tolist(),
            },
            "integrated": found.integrated
            and {
                "attributions": found.integrated.attributions.tolist(),
                "baseline_score": found.integrated.baseline_score,
                "delta": found.integrated.delta,
                "steps": found.integrated.steps,
            },
            "forward_passes": found.forward_passes,
            "backward_passes": found.backward_passes,
            **warnings(model, len(tokens), not_steered(service, model, asker)),
        }

    return Sweep(
        lambda report: saliency(
            model.kit,
            tokens,
            target,
            hooks,
            baseline=baseline,
            steps=steps,
            budget_bytes=service.captures.budget_bytes,
            progress=report,
        ),
        reply,
    ).answer(service, stream=request.stream, unit="passes")


def _target(model: LoadedModel, target: s.GradientTarget) -> Target:
    tokens, against = (
        [one_token(model, token, f"target.{name}") for token in getattr(target, name) or ()]
        for name in ("tokens", "against")
    )
    return Target(target.kind, tokens, against, target.positions)


def _baseline(
    service: Service, model: LoadedModel, request: s.GradientsRequest, length: int
) -> Baseline | None:
    given = request.integrated
    if given is None:
        return None
    for name in ("token", "prompt"):
        if (getattr(given, name) is not None) != (given.baseline == name):
            needed = "needs" if given.baseline == name else "takes no"
            raise ImpossibleError(
                f"integrated: the baseline {given.baseline} {needed} {name}", f"integrated.{name}"
            )
    if given.token is not None:
        return Baseline([one_token(model, given.token, "integrated.token")] * length)
    if given.prompt is not None:
        special = request.add_special_tokens
        param = "integrated.prompt"
        return Baseline(
            prompt_tokens(model, given.prompt, service.settings, param, special=special)
        )
    return Baseline()
