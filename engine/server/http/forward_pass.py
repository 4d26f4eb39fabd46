"""One forward pass that a request asks for: checked, then run, then described."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from engine.captures.hooks import ResolvedHook, resolve_hooks
from engine.captures.records import CapturedActivation
from engine.components import ComponentType
from engine.contract import schemas as s
from engine.errors import CaptureTooLargeError, DuplicateHookError
from engine.interventions.intervention import AnyIntervention
from engine.runs.forward import ForwardResult, Logits, run_forward
from engine.server.errors import ImpossibleError, LimitError
from engine.server.http import specs
from engine.server.http.prompts import checked, prompt_tokens
from engine.server.http.steered import steered, told
from engine.server.http.top_tokens import top_tokens
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.captures import new_capture
from engine.server.state.models import LoadedModel
from engine.server.state.steering import Steered
from engine.server.wire.records import activations_json, record_json

LOGITS = "logits"
"""The hook id under which the pass's own logits are kept in its capture."""
BYTES = 4


@dataclass(frozen=True)
class ForwardPass:
    """A forward pass that can be run; what can be refused of it has been."""

    service: Service
    model: LoadedModel
    request: s.ForwardRequest
    batch: list[list[int]]
    hooks: tuple[ResolvedHook, ...]
    interventions: tuple[AnyIntervention, ...]
    logits: Logits
    steered: Steered

    @classmethod
    def of(cls, service: Service, request: s.ForwardRequest) -> "ForwardPass":
        model = service.models.get(request.model)
        batch = _batch(service, model, request)
        hooks = resolve_hooks(
            specs.hook_specs(request.activation_hooks, model), model.kit.structure
        )
        if request.logits != "none" and any(hook.hook_id == LOGITS for hook in hooks):
            raise DuplicateHookError(f"The hook id {LOGITS!r} belongs to the pass's own logits.")
        changes = specs.interventions(request.interventions, service.captures, model)
        logits = "last" if request.logits == "none" and request.top_k else request.logits
        _check_logits(model, batch, logits, service.captures.budget_bytes)
        acting = steered(service, model)
        changes = (*acting.interventions(model, 0), *changes)
        return cls(service, model, request, batch, hooks, changes, logits, acting)

    def run(self, job: Job, more: Sequence[AnyIntervention] = ()) -> ForwardResult:
        """Run it, with `more` interventions after its own. For the generation thread."""
        return run_forward(
            self.model.kit,
            self.batch,
            self.hooks,
            (*self.interventions, *more),
            logits=self.logits,
            budget_bytes=self.service.captures.budget_bytes,
            progress=partial(job.report, unit="layers"),
        )

    def reply(self, result: ForwardResult) -> dict[str, Any]:
        """The result as JSON; what was captured is kept."""
        form = self.request.activation_format
        logits = None
        if self.request.logits != "none" and result.logits is not None:
            logits = _logits_record(result.tokens[0], result.logits)
        kept = {LOGITS: [logits]} if logits else {}
        capture = replace(new_capture(self.model.id), activations=result.activations | kept)
        self.service.captures.add(capture)
        return {
            "tokens": self.batch,
            "texts": [self.model.token_texts(tokens) for tokens in self.batch],
            "logits": record_json(logits, form) if logits else None,
            "top": _top(self.model, result.logits, self.request.top_k),
            "capture_id": capture.capture_id,
            "activations": activations_json(result.activations, form),
            **told(self.steered),
            **warnings(self.model, len(self.batch[0]), self.steered.notes),
        }


def _batch(service: Service, model: LoadedModel, request: s.ForwardRequest) -> list[list[int]]:
    param = "prompt" if request.tokens is None else "tokens"
    given = request.prompt if request.tokens is None else request.tokens
    settings = service.settings
    if isinstance(given, str):
        return [prompt_tokens(model, given, settings, param, special=request.add_special_tokens)]
    sequences = [part for part in given or () if isinstance(part, list)]
    if not sequences:
        ids = [part for part in given or () if isinstance(part, int)]
        return [checked(model, ids, settings, param)]
    batch = [
        checked(model, tokens, settings, f"{param}.{index}")
        for index, tokens in enumerate(sequences)
    ]
    lengths = sorted({len(tokens) for tokens in batch})
    if len(lengths) > 1:
        raise ImpossibleError(
            f"{param}: sequences of a batch must have equal length; these have {lengths}.", param
        )
    if sum(map(len, batch)) > settings.max_batch_tokens:
        raise LimitError(
            f"{param} contains {sum(map(len, batch))} tokens in all; "
            f"at most {settings.max_batch_tokens} are taken.",
            param,
        )
    return batch


def _check_logits(model: LoadedModel, batch: list[list[int]], wanted: str, budget: int) -> None:
    positions = {"none": 0, "last": 1, "all": len(batch[0])}[wanted]
    size = len(batch) * positions * model.kit.info.vocab_size * BYTES
    if size > budget:
        raise CaptureTooLargeError(f"The logits take {size} bytes; the budget is {budget} bytes.")


def _logits_record(tokens: list[int], logits: np.ndarray) -> CapturedActivation:
    length = len(tokens)
    return CapturedActivation(
        hook_id=LOGITS,
        layer_name=LOGITS,
        layer=None,
        component=ComponentType.LOGITS,
        step=0,
        positions=(length - logits.shape[1], length - 1),
        is_input=False,
        dtype="float32",
        data=logits,
    )


def _top(model: LoadedModel, logits: np.ndarray | None, count: int) -> list[list[dict]]:
    """For each sequence, the `count` likeliest next tokens, likeliest first."""
    if logits is None or count == 0:
        return []
    return [top_tokens(model, row, count) for row in logits[:, -1]]
