"""Completions and chat completions, with and without activations, whole or streamed."""

from contextlib import closing
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.server.http.chat import chat_tokens
from engine.server.http.choices import Choices
from engine.server.http.forms import OF_CHAT, Fields, completion_form, message_form, tools_of
from engine.server.http.openai_format import ChatReply, CompletionReply
from engine.server.http.prompts import Prompt, checked, completion_prompts
from engine.server.http.requests import client
from engine.server.http.responses import event_stream
from engine.server.service import Service

Answer = dict[str, Any] | Response


def complete(service: Service, request: s.CompletionRequest) -> Answer:
    return _answer(service, completion_choices(service, request), request)


def chat(service: Service, request: s.ChatCompletionRequest) -> Answer:
    return _answer(service, chat_choices(service, request), request)


def completion_choices(service: Service, request: s.CompletionRequest) -> Choices:
    """The choices that a request to complete prompts asks for. Raises what it cannot have."""
    model = service.models.get(request.model)
    prompts = completion_prompts(model, request, service.settings)
    reply = CompletionReply(model, request.logprobs)
    return Choices(service, prompts, request, reply, completion_form(model, request))


def chat_choices(
    service: Service, request: s.ChatCompletionRequest, names: Fields = OF_CHAT
) -> Choices:
    """The choices that a request to answer chat messages asks for, whose fields have `names`.

    Raises what it cannot have.
    """
    model = service.models.get(request.model)
    special = request.add_special_tokens
    settings, param, tools = service.settings, names.messages, tools_of(request)
    tokens = chat_tokens(
        model, request.messages, request, settings, special=special, param=param, tools=tools
    )
    prompt = Prompt(checked(model, tokens, settings, param))
    top_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    form = message_form(model, request, tokens, tools, names)
    return Choices(service, [prompt], request, ChatReply(model, top_logprobs), form)


def _answer(service: Service, choices: Choices, request: s.Sampling) -> Answer:
    job = service.worker.submit(choices.run, client())
    if request.stream:
        return event_stream(choices.chunks(job), job)
    with closing(job):
        return choices.body(job)
