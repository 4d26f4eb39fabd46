"""Completions and chat completions, with and without activations, whole or streamed."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.server.http.generation import Generation
from engine.server.http.openai_format import ChatReply, CompletionReply, Reply
from engine.server.http.prompts import chat_tokens, checked, prompt_tokens
from engine.server.http.requests import client_gone
from engine.server.http.responses import event_stream
from engine.server.jobs.job import Job
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
    generation = Generation.of(service, tokens, request, reply)
    job = service.worker.submit(generation.run, client_gone())
    if request.stream:
        return event_stream(_events(job, request, generation), job)
    with closing(job):
        return generation.body(job)


def _events(job: Job, request: s.Sampling, generation: Generation) -> Iterator[dict[str, Any]]:
    reply, collector = generation.reply, generation.collector
    for result, activations in job:
        collector.collect(result, activations)
        chunk = reply.chunk(result) | collector.described(activations)
        if result.finish_reason:
            collector.keep()
            chunk |= generation.warnings(result)
        yield chunk
        if result.finish_reason and request.stream_options and request.stream_options.include_usage:
            yield reply.usage_chunk(result)
