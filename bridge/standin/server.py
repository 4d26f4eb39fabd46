"""The stand-in's HTTP server, and what it says to a request that the document does not allow."""

import json
import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bridge.generator.api.bodies import Content
from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.api.schemas import Schema
from bridge.generator.api.security import SecurityScheme
from bridge.generator.examples import example_response

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


class BadRequestError(Exception):
    """A request that the document does not allow; `status` is what the stand-in answers."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What arrived: `headers` have their names in small letters."""

    verb: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def cookies(self) -> dict[str, str]:
        return {n: c.value for n, c in SimpleCookie(self.headers.get("cookie", "")).items()}


class StandIn:
    """Answers requests with the examples of an API's document."""

    def __init__(self, api: Api) -> None:
        self._schemes = api.security_schemes
        bases = {"", *(urlsplit(server.url).path.rstrip("/") for server in api.servers)}
        for operation in api.operations:
            bases |= {urlsplit(server.url).path.rstrip("/") for server in operation.servers}
        self._bases = sorted(bases, key=len, reverse=True)
        # A path without variables stands before one that fits it too.
        ordered = sorted(api.operations, key=lambda o: (o.path.count("{"), -len(o.path)))
        self._routes = [(_pattern(operation.path), operation) for operation in ordered]

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the response; what is not allowed is said as JSON."""
        try:
            operation = self._operation(request)
            self._check_security(operation, request)
            _check_parameters(operation, request)
            _check_body(operation, request)
        except BadRequestError as error:
            body = json.dumps({"error": {"message": str(error), "code": error.status}}).encode()
            return error.status, {"Content-Type": "application/json"}, body
        example = example_response(operation)
        kind = {"Content-Type": example.media_type} if example.media_type else {}
        return example.status, {**example.headers, **kind}, example.body

    def _operation(self, request: Request) -> Operation:
        paths = [request.path.removeprefix(base) or "/" for base in self._bases]
        verbs = []
        for path in dict.fromkeys(paths):
            for pattern, operation in self._routes:
                if pattern.fullmatch(path):
                    if operation.verb == request.verb:
                        return operation
                    verbs.append(operation.verb)
        if verbs:
            listed = ", ".join(dict.fromkeys(verbs))
            raise BadRequestError(405, f"{request.verb} is none of {listed} at {request.path}")
        raise BadRequestError(404, f"the document has no path that fits {request.path}")

    def _check_security(self, operation: Operation, request: Request) -> None:
        wanted = operation.security
        if wanted and not any(
            all(
                self._has(self._schemes[name], request) for name, _ in each if name in self._schemes
            )
            for each in wanted
        ):
            listed = " or ".join(" and ".join(name for name, _ in each) for each in wanted)
            raise BadRequestError(401, f"no credential for {listed}")

    @staticmethod
    def _has(scheme: SecurityScheme, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        if scheme.type == "apiKey":
            return {
                "query": scheme.parameter in request.query,
                "header": scheme.parameter.lower() in request.headers,
                "cookie": scheme.parameter in request.cookies,
            }.get(scheme.place, False)
        if scheme.type == "http" and scheme.http == "basic":
            return given.startswith("Basic ")
        return bool(given) or scheme.type == "mutualTLS"


def serve(api: Api, host: str, port: int) -> ThreadingHTTPServer:
    """A server of an API's examples, bound to a port (0 for any) and not yet running."""
    stand_in = StandIn(api)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def parse_request(self) -> bool:
            parsed = super().parse_request()
            if parsed:  # every method of the document, not only those that have a name here
                setattr(self, f"do_{self.command}", self._answer)
            return parsed

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            request = Request(
                self.command,
                address.path,
                parse_qs(address.query, keep_blank_values=True),
                {name.lower(): value for name, value in self.headers.items()},
                body,
            )
            status, headers, content = stand_in.answer(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, form: str, *parts: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer((host, port), Handler)


def _pattern(path: str) -> re.Pattern[str]:
    pieces = re.split(r"({[^{}]+})", path.partition("?")[0])
    return re.compile("".join("[^/]*" if p.startswith("{") else re.escape(p) for p in pieces))


def _check_parameters(operation: Operation, request: Request) -> None:
    given = {
        "query": {*request.query, *(name.partition("[")[0] for name in request.query)},
        "header": {*request.headers},
        "cookie": {*request.cookies},
    }
    for parameter in operation.parameters:
        if not parameter.required or parameter.place not in given or parameter.explodes_names:
            continue
        name = parameter.name.lower() if parameter.place == "header" else parameter.name
        if name not in given[parameter.place] and unquote(name) not in given[parameter.place]:
            raise BadRequestError(400, f"no {parameter.place} parameter {parameter.name}")


def _check_body(operation: Operation, request: Request) -> None:
    body = operation.body
    if body is None or not body.contents:
        return
    if not request.body:
        if body.required:
            raise BadRequestError(400, "no body")
        return
    sent = Content(request.headers.get("content-type", ""), None).essence
    declared = [c for c in body.contents if _fits(sent, c.essence)]
    if not declared:
        listed = ", ".join(c.media_type for c in body.contents)
        raise BadRequestError(415, f"a body of {sent or 'no media type'}, and not of {listed}")
    if declared[0].is_json:
        try:
            value = json.loads(request.body)
        except ValueError as error:
            raise BadRequestError(400, f"no JSON: {error}") from error
        if said := _breach(value, declared[0].schema, "the body"):
            raise BadRequestError(400, said)


def _fits(essence: str, pattern: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), essence))


def _breach(value: Any, schema: Schema | None, where: str) -> str:
    """What of a value does not fit a schema: its type, its choices or what it must have."""
    if schema is None:
        return ""
    kinds = [TYPES[each] for each in schema.types if each in TYPES]
    if kinds and not any(isinstance(value, kind) for kind in kinds):
        return f"{where} is {json.dumps(value)[:40]}, not of {' or '.join(sorted(schema.types))}"
    if schema.enum and json.dumps(value, sort_keys=True) not in schema.enum:
        return f"{where} is {json.dumps(value)[:40]}, none of {', '.join(schema.enum)}"
    if isinstance(value, dict):
        for name in sorted(schema.required - value.keys()):
            return f"{where} has no {name}"
        parts = [(schema.properties.get(n), v, f"{where}, {n}") for n, v in value.items()]
        return next((said for s, v, at in parts if (said := _breach(v, s, at))), "")
    if isinstance(value, list):
        found = (_breach(v, schema.items, f"{where}, element {i}") for i, v in enumerate(value))
        return next((said for said in found if said), "")
    return ""
