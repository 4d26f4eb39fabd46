"""A document whose every text would be code is filed in, and all of it is text."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from foreign import HOSTILE, document, generate_into, operation, written
from test_foreign_api import image_names, system_with

from systems import System, answer


class Echo(BaseHTTPRequestHandler):
    """Answers the method, the path and the query that it was asked, unescaped."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = urlsplit(self.path)
        content = json.dumps(
            {
                "method": self.command,
                "path": unquote(asked.path),
                "query": parse_qsl(asked.query),
                "body": json.loads(body) if body else None,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def hostile_document() -> dict[str, Any]:
    """A document with the hostile text in each place where any text may be."""
    schema = {
        "type": "object",
        "description": HOSTILE,
        "title": HOSTILE,
        "properties": {HOSTILE: {"type": "string", "description": HOSTILE, "enum": [HOSTILE]}},
        "required": [HOSTILE],
    }
    entry = operation(
        operationId=f"one {HOSTILE}",
        summary=HOSTILE,
        description=HOSTILE,
        tags=[HOSTILE],
        parameters=[
            {"name": HOSTILE, "in": "query", "required": True, "description": HOSTILE},
            {"name": f"h{HOSTILE}", "in": "header", "description": HOSTILE},
            {"name": "id", "in": "path", "required": True, "description": HOSTILE},
        ],
        requestBody={
            "description": HOSTILE,
            "content": {"application/json": {"schema": schema}},
        },
    )
    other = operation(operationId=HOSTILE, tags=["*Kernel"], summary=f'"{HOSTILE}"')
    return {
        **document({f"/{HOSTILE}/{{id}}": {"post": entry}, "/b": {"get": other}}),
        "info": {"title": f"Hostile {HOSTILE}", "version": HOSTILE, "description": HOSTILE},
        "servers": [{"url": HOSTILE, "description": HOSTILE}],
        "tags": [{"name": HOSTILE, "description": HOSTILE}],
    }


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with the client of the hostile document filed in."""
    folder = tmp_path_factory.mktemp("hostile")
    spec = written(folder / "spec", hostile_document())
    made = generate_into(folder, spec, request.param, class_name="HostileClient")
    assert len(made.methods) == 2
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def test_no_text_was_run(image: System) -> None:
    smalltalk = "Smalltalk globals" if image.name == "amber" else "Smalltalk"
    expression = f"({smalltalk} at: #Pwned ifAbsent: [nil]) isNil"
    assert answer(image, expression, "HostilePlatform") is True


def test_the_servers_address_is_the_text_of_the_document(image: System) -> None:
    assert answer(image, "HostileClient default baseUrl", "HostilePlatform") == HOSTILE


def test_what_is_sent_is_the_text_of_the_document(image: System, echo: str, tmp_path: Path) -> None:
    made = generate_into(tmp_path, written(tmp_path, hostile_document()), "amber")
    parts = made.methods[0].pattern.parts
    values = {"path": "'a'", "query": "'b'", "body": "'c'"}
    message = " ".join(f"{part.keyword} {values[part.place]}" for part in parts)
    asked = answer(image, f"(HostileClient baseUrl: '{echo}') {message}", "HostilePlatform")
    assert asked == {
        "method": "POST",
        "path": f"/{HOSTILE}/a",
        "query": [[HOSTILE, "b"]],
        "body": "c",
    }
