"""Completions and chat completions, with and without activations, whole or streamed."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.server.answers import event_stream
from engine.server.collector import Collector
from engine.server.errors import UnavailableError
from engine.server.generate import submit
from engine.server.job import Job
from engine.server.prompts import chat_tokens, checked, prompt_tokens
from engine.server.replies import ChatReply, CompletionReply, Reply
from engine.server.service import Service

Answer = dict[str, Any] | Response


def complete(service: Service, request: s.CompletionRequest) -> Answer:
    model = service.models.get(request.model)
    tokens = prompt_tokens(model, request.prompt, service.settings)
    return _answer(service, tokens, request, CompletionReply(model, request.logprobs))


def chat(service: Service, request: s.ChatCompletionRequest) -> Answer:
    model = service.models.get(request.model)
    tokens = chat_tokens(model, request.messages, service.settings)
    tokens = checked(model, tokens, service.settings, "messages")
    top_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    return _answer(service, tokens, request, ChatReply(model, top_logprobs))


def _answer(service: Service, tokens: list[int], request: s.Sampling, reply: Reply) -> Answer:
    collector = Collector(service.captures, reply.model.id, request)
    job = submit(service, reply.model, tokens, request, reply.top_logprobs or 0)
    if request.stream:
        return event_stream(_events(job, request, reply, collector), job)
    with closing(job):
        results = [collector.collect(*step) for step in job]
    if not results or results[-1].finish_reason is None:
        raise UnavailableError("The generation was cancelled: its client is gone.")
    return reply.body(results) | collector.keep()


def _events(
    job: Job, request: s.Sampling, reply: Reply, collector: Collector
) -> Iterator[dict[str, Any]]:
    for result, activations in job:
        collector.collect(result, activations)
        if result.finish_reason:
            collector.keep()
        yield reply.chunk(result) | collector.described(activations)
        if result.finish_reason and request.stream_options and request.stream_options.include_usage:
            yield reply.usage_chunk(result)
