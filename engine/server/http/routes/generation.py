"""Completions and chat completions, with and without activations, whole or streamed."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.server.http.choices import Choices
from engine.server.http.openai_format import ChatReply, CompletionReply, Reply
from engine.server.http.prompts import Prompt, chat_tokens, checked, completion_prompts
from engine.server.http.requests import client
from engine.server.http.responses import event_stream
from engine.server.service import Service

Answer = dict[str, Any] | Response


def complete(service: Service, request: s.CompletionRequest) -> Answer:
    model = service.models.get(request.model)
    prompts = completion_prompts(model, request.prompt, service.settings, echo=request.echo)
    return _answer(service, prompts, request, CompletionReply(model, request.logprobs))


def chat(service: Service, request: s.ChatCompletionRequest) -> Answer:
    model = service.models.get(request.model)
    tokens = chat_tokens(model, request.messages, service.settings)
    prompt = Prompt(checked(model, tokens, service.settings, "messages"))
    top_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    return _answer(service, [prompt], request, ChatReply(model, top_logprobs))


def _answer(
    service: Service, prompts: Sequence[Prompt], request: s.Sampling, reply: Reply
) -> Answer:
    choices = Choices(service, prompts, request, reply)
    job = service.worker.submit(choices.run, client())
    if request.stream:
        return event_stream(choices.chunks(job), job)
    with closing(job):
        return choices.body(job)
