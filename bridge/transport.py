"""Requests to the endpoint over HTTP, and its replies as Python objects; blocking and not."""

import json
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np

from bridge import api_types as api
from bridge.errors import LMStudioError
from bridge.wire import from_safetensors

SESSION_HEADER = "X-Session-Id"
DEFAULT_URL = "http://127.0.0.1:50111"
TOKEN_VARIABLE = "NEUROSCOPE_TOKEN"
Fields = Mapping[str, Any]
Progress = Callable[[api.ProgressEvent], None]
"""Called with how much of a long request is done, again and again until its reply is there."""


class Transport:
    """A connection to a running engine.

    `timeout` is in seconds, for a whole request. The bearer token, where the engine asks for one,
    is read from the environment variable NEUROSCOPE_TOKEN unless given. A refused request raises
    LMStudioError with the engine's message; an engine that cannot be reached raises
    httpx.TransportError. The hooks that a client registers act on its own requests: the engine
    keeps them under its `session`, by default a name of its own; clients that are given the same
    one share them. A field that is None is not sent. Where an operation tells of its
    progress, `progress` is called with it, such as a `ProgressBar`; what it raises ends the work.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout: float = 600,
        progress: Progress | None = None,
        session: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.session = session or uuid4().hex
        self.progress = progress
        self._http = httpx.Client(
            base_url=base_url, headers=_headers(token, self.session), timeout=timeout
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _json(self, verb: str, route: str, **parts: Fields) -> Any:
        """Send one request; returns its JSON reply."""
        return self._send(verb, route, parts).json()

    def _result(self, verb: str, route: str, **parts: Fields) -> Any:
        """Send one request that tells of its progress; returns its JSON reply."""
        if self.progress is None:
            return self._json(verb, route, **parts)
        with closing(self._events(verb, route, **parts)) as events:
            return next(each["result"] for each in events if _is_result(each, self.progress))

    def _text(self, verb: str, route: str, **parts: Fields) -> str:
        """Send one request; returns its reply of plain text."""
        return self._send(verb, route, parts).text

    def _arrays(self, verb: str, route: str, **parts: Fields) -> dict[str, np.ndarray]:
        """Send one request; returns the arrays of its safetensors reply by their names."""
        return from_safetensors(self._send(verb, route, parts).content)

    def _events(
        self, verb: str, route: str, **parts: Fields
    ) -> Generator[dict[str, Any], None, None]:
        """Send one request; yields the events of its streamed reply."""
        request = self._http.build_request(verb, **_content(route, parts, stream=True))
        response = self._http.send(request, stream=True)
        try:
            if response.is_error:
                response.read()
            _check(response)
            yield from _parsed(response.iter_lines())
        finally:
            response.close()

    def _send(self, verb: str, route: str, parts: Mapping[str, Fields]) -> httpx.Response:
        return _check(self._http.request(verb, **_content(route, parts)))


class AsyncTransport:
    """As `Transport`, for asynchronous code."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout: float = 600,
        progress: Progress | None = None,
        session: str | None = None,
    ) -> None:
        self.base_url = base_url
        self.session = session or uuid4().hex
        self.progress = progress
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_headers(token, self.session), timeout=timeout
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def _json(self, verb: str, route: str, **parts: Fields) -> Any:
        """Send one request; returns its JSON reply."""
        return (await self._send(verb, route, parts)).json()

    async def _result(self, verb: str, route: str, **parts: Fields) -> Any:
        """Send one request that tells of its progress; returns its JSON reply."""
        if self.progress is None:
            return await self._json(verb, route, **parts)
        async with aclosing(self._events(verb, route, **parts)) as events:
            async for each in events:
                if _is_result(each, self.progress):
                    return each["result"]
        raise AssertionError("a stream of progress ends with a result or an error")

    async def _text(self, verb: str, route: str, **parts: Fields) -> str:
        """Send one request; returns its reply of plain text."""
        return (await self._send(verb, route, parts)).text

    async def _arrays(self, verb: str, route: str, **parts: Fields) -> dict[str, np.ndarray]:
        """Send one request; returns the arrays of its safetensors reply by their names."""
        return from_safetensors((await self._send(verb, route, parts)).content)

    async def _events(
        self, verb: str, route: str, **parts: Fields
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send one request; yields the events of its streamed reply."""
        request = self._http.build_request(verb, **_content(route, parts, stream=True))
        response = await self._http.send(request, stream=True)
        try:
            if response.is_error:
                await response.aread()
            _check(response)
            async for line in response.aiter_lines():
                for event in _parsed([line]):
                    yield event
        finally:
            await response.aclose()

    async def _send(self, verb: str, route: str, parts: Mapping[str, Fields]) -> httpx.Response:
        return _check(await self._http.request(verb, **_content(route, parts)))


def _headers(token: str | None, session: str) -> dict[bytes, bytes]:
    headers = {SESSION_HEADER.encode(): session.encode()}
    if given := token or os.environ.get(TOKEN_VARIABLE):
        headers[b"Authorization"] = b"Bearer " + given.encode("utf-8", "surrogateescape")
    return headers


def _content(route: str, parts: Mapping[str, Fields], stream: bool = False) -> dict[str, Any]:
    """The address, query and body of a request, as httpx takes them."""
    path = parts.get("path", {})
    content: dict[str, Any] = {
        "url": route.format(**{name: quote(str(value), safe="") for name, value in path.items()}),
        "params": _given(parts.get("query", {})),
    }
    if "body" in parts:
        content["json"] = _given(parts["body"]) | ({"stream": True} if stream else {})
    return content


def _given(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        data = line.removeprefix("data: ")
        if data != line and data != "[DONE]":
            event = json.loads(data)
            if "error" in event:
                raise _error(event["error"])
            yield event


def _is_result(event: dict[str, Any], progress: Progress) -> bool:
    """Whether an event is the result; others are told of as progress."""
    if event["type"] != "result":
        progress(cast(api.ProgressEvent, event))
    return event["type"] == "result"


def _check(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise LMStudioError(response.status_code, "unexpected", response.text[:500]) from None
    raise _error({"code": response.status_code, **error})


def _error(error: Fields) -> LMStudioError:
    return LMStudioError(error["code"], error["type"], error["message"], error.get("param"))
