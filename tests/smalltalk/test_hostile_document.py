"""A document whose every text would be code is filed in, and all of it is text."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from echo import echo_server
from foreign import HOSTILE, document, generate_into, operation, written
from test_foreign_api import image_names, system_with

from systems import System, answer


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with echo_server() as address:
        yield address


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
            {"name": f"o{HOSTILE}", "in": "query", "description": HOSTILE},
            {"name": "id", "in": "path", "required": True, "description": HOSTILE},
        ],
        requestBody={
            "required": True,
            "description": HOSTILE,
            "content": {"application/json": {"schema": schema}},
        },
    )
    other = operation(operationId=HOSTILE, tags=["*Kernel"], summary=f'"{HOSTILE}"')
    server = {"url": f"{HOSTILE}{{{HOSTILE}}}", "variables": {HOSTILE: {"default": HOSTILE}}}
    form = {
        "schema": schema,
        "encoding": {HOSTILE: {"contentType": HOSTILE}, f"s{HOSTILE}": {"style": "deepObject"}},
    }
    third = operation(
        operationId="form",
        servers=[server],
        requestBody={
            "required": True,
            "description": HOSTILE,
            "content": {HOSTILE: {}, "application/x-www-form-urlencoded": form, "a/b": {}},
        },
    )
    paths = {f"/{HOSTILE}/{{id}}": {"post": entry}, "/b": {"get": other}, "/c": {"post": third}}
    schemes = {
        HOSTILE: {"type": "apiKey", "in": "query", "name": HOSTILE, "description": HOSTILE},
        "http": {"type": "http", "scheme": HOSTILE},
        "key": {"type": "apiKey", "in": "header", "name": HOSTILE},
    }
    return {
        **document(paths, security=[{HOSTILE: []}]),
        "components": {"securitySchemes": schemes},
        "info": {"title": f"Hostile {HOSTILE}", "version": HOSTILE, "description": HOSTILE},
        "servers": [{"url": HOSTILE, "description": HOSTILE}, server],
        "tags": [{"name": HOSTILE, "description": HOSTILE}],
    }


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with the client of the hostile document filed in."""
    folder = tmp_path_factory.mktemp("hostile")
    spec = written(folder / "spec", hostile_document())
    made = generate_into(folder, spec, request.param, class_name="HostileClient")
    assert len(made.methods) == 5
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def test_no_text_was_run(image: System) -> None:
    smalltalk = "Smalltalk globals" if image.name == "amber" else "Smalltalk"
    expression = f"({smalltalk} at: #Pwned ifAbsent: [nil]) isNil"
    assert answer(image, expression, "HostilePlatform") is True


def test_the_servers_address_is_the_text_of_the_document(image: System) -> None:
    assert answer(image, "HostileClient default baseUrl", "HostilePlatform") == HOSTILE


def test_what_is_sent_is_the_text_of_the_document(image: System, echo: str, tmp_path: Path) -> None:
    made = generate_into(tmp_path, written(tmp_path, hostile_document()), "amber")
    method = next(m for m in made.methods if m.options)
    key = method.options[0].key
    values = {"path": "'a'", "query": "'b'", "body": "'c'", "options": f"{{'{key}' -> 'd'}}"}
    message = " ".join(f"{part.keyword} {values[part.place]}" for part in method.pattern.parts)
    (credential,) = made.credentials.all
    asked = answer(
        image,
        f"| c | c := HostileClient baseUrl: '{echo}';; c {credential.word}: 'e';; c {message}",
        "HostilePlatform",
    )
    address = urlsplit(asked["path"])
    assert (asked["method"], unquote(address.path)) == ("POST", f"/{HOSTILE}/a")
    assert parse_qsl(address.query) == [(HOSTILE, "b"), (f"o{HOSTILE}", "d"), (HOSTILE, "e")]
    assert base64.b64decode(asked["body"]) == b'"c"'


def test_a_form_has_the_names_of_the_document(image: System, echo: str) -> None:
    template = "(HostileClient servers at: 2) template"
    name = "(HostileClient servers at: 2) variables keys first"
    asked = answer(
        image,
        f"| c | c := HostileClient baseUrl: 'x';; c use: '{echo}' inPlaceOf: {template};; "
        f"c form: (c fields: {{{name} -> 'b c'}})",
        "HostilePlatform",
    )
    assert parse_qsl(base64.b64decode(asked["body"]).decode()) == [(HOSTILE, "b c")]
    assert urlsplit(asked["path"]).path == "/c"
