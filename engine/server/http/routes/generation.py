"""Completions and chat completions, with and without activations, whole or streamed."""

from contextlib import closing
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.server.http.chat import chat_tokens
from engine.server.http.choices import Choices
from engine.server.http.openai_format import ChatReply, CompletionReply
from engine.server.http.prompts import Prompt, checked, completion_prompts
from engine.server.http.requests import client
from engine.server.http.responses import event_stream
from engine.server.http.routes.models import requested_model
from engine.server.service import Service

Answer = dict[str, Any] | Response


def complete(service: Service, request: s.CompletionRequest) -> Answer:
    model = requested_model(service, request.model)
    prompts = completion_prompts(model, request, service.settings)
    choices = Choices(service, prompts, request, CompletionReply(model, request.logprobs))
    return _answer(service, choices, request)


def chat(service: Service, request: s.ChatCompletionRequest) -> Answer:
    return _answer(service, chat_choices(service, request), request)


def chat_choices(
    service: Service, request: s.ChatCompletionRequest, param: str = "messages"
) -> Choices:
    """The choices that a request to answer chat messages asks for, whose field `param` has them.

    Raises what it cannot have.
    """
    model = requested_model(service, request.model)
    special = request.add_special_tokens
    tokens = chat_tokens(
        model, request.messages, request, service.settings, special=special, param=param
    )
    prompt = Prompt(checked(model, tokens, service.settings, param))
    top_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    return Choices(service, [prompt], request, ChatReply(model, top_logprobs))


def _answer(service: Service, choices: Choices, request: s.Sampling) -> Answer:
    job = service.worker.submit(choices.run, client())
    if request.stream:
        return event_stream(choices.chunks(job), job)
    with closing(job):
        return choices.body(job)
