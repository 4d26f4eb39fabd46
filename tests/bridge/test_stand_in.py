"""The stand-in says what a document does not allow; examples fit what they are examples of."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from foreign import client, document, json_body, operation, read

from bridge.generator import client_tests
from bridge.generator.api.references import Documents, Node
from bridge.generator.api.schemas import schema_at
from bridge.generator.dialects import DIALECTS
from bridge.generator.examples import example_value
from bridge.generator.generate import render
from bridge.standin.server import serve

PET = {
    "type": "object",
    "required": ["name", "kind"],
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["cat", "dog"]}},
}
QUERY = {"name": "limit", "in": "query", "required": True, "schema": {"type": "integer"}}
HEADER = {"name": "X-Who", "in": "header", "required": True, "schema": {"type": "string"}}
PATHS = {
    "/pets": {
        "get": operation(parameters=[QUERY, HEADER]),
        "post": operation(requestBody=json_body(PET, required=True), security=[{"key": []}]),
    },
    "/pets/mine": {"get": operation(operationId="mine")},
    "/pets/{id}": {"delete": {"responses": {"204": {"description": "Gone."}}}},
}
KEY = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a running stand-in whose document names a server with a path."""
    content = document(
        PATHS,
        servers=[{"url": "https://pets.example/v1"}],
        components={"securitySchemes": KEY},
    )
    server = serve(read(tmp_path, content), "127.0.0.1", 0)
    Thread(target=server.serve_forever, daemon=True).start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as asking:
        yield asking
    server.shutdown()


@pytest.mark.parametrize(
    ("verb", "path", "given", "status", "said"),
    [
        ("GET", "/pets", {"headers": {"X-Who": "me"}}, 400, "no query parameter limit"),
        ("GET", "/pets", {"params": {"limit": 1}}, 400, "no header parameter X-Who"),
        ("GET", "/nowhere", {}, 404, "no path that fits /nowhere"),
        ("PATCH", "/pets", {}, 405, "PATCH is none of GET, POST"),
        ("POST", "/pets", {"json": {}}, 401, "no credential for key"),
        ("POST", "/pets", {"headers": {"X-Key": "k"}}, 400, "no body"),
        ("POST", "/pets", {"headers": {"X-Key": "k"}, "data": {"a": "b"}}, 415, "urlencoded"),
        ("POST", "/pets", {"headers": {"X-Key": "k"}, "json": [1]}, 400, "not of object"),
        ("POST", "/pets", {"headers": {"X-Key": "k"}, "json": {"name": 1}}, 400, "has no kind"),
        (
            *("POST", "/pets"),
            {"headers": {"X-Key": "k"}, "json": {"name": "x", "kind": "cow"}},
            *(400, "none of"),
        ),
    ],
)
def test_what_the_document_does_not_allow_is_an_error(
    stand_in: httpx.Client, verb: str, path: str, given: dict[str, Any], status: int, said: str
) -> None:
    found = stand_in.request(verb, path, **given)
    assert found.status_code == status
    assert said in found.json()["error"]["message"]


def test_what_it_allows_is_answered_with_or_without_the_servers_path(
    stand_in: httpx.Client,
) -> None:
    for base in ("", "/v1"):
        found = stand_in.get(f"{base}/pets", params={"limit": 1}, headers={"X-Who": "me"})
        assert found.status_code == 200
        assert stand_in.delete(f"{base}/pets/7").status_code == 204
        assert stand_in.get(f"{base}/pets/mine").status_code == 200


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "example": "x"}, "x"),
        ({"type": "string", "examples": ["y"]}, "y"),
        ({"type": "integer", "default": 3}, 3),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"oneOf": [{"type": "null"}, PET]}, {"name": "text", "kind": "cat"}),
        (
            {"allOf": [PET, {"properties": {"age": {"type": "integer"}}}]},
            {"name": "text", "kind": "cat", "age": 1},
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"key": 1}),
        ({"type": "object", "properties": {"s": {"type": "string", "writeOnly": True}}}, {}),
    ],
)
def test_an_example_is_made_of_the_schema(schema: Any, expected: Any) -> None:
    node = Node(Documents("file:///x"), "file:///x", "#", schema)
    found = example_value(None, schema_at(node))
    assert found == expected


def test_a_schema_that_contains_itself_has_an_example(tmp_path: Path) -> None:
    node = {
        "type": "object",
        "required": ["next"],
        "properties": {
            "next": {"$ref": "#/components/schemas/Node"},
            "all": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        },
    }
    reference = {"$ref": "#/components/schemas/Node"}
    paths = {
        "/a": {"get": operation(responses={"200": {"description": "", **json_body(reference)}})}
    }
    made = client(tmp_path, document(paths, components={"schemas": {"Node": node}}))
    (test,) = client_tests.tests_of(made)
    assert json.loads(test.text) == {"all": []}


def test_each_operation_has_a_test_and_each_folder_a_readme(tmp_path: Path) -> None:
    made = client(tmp_path, document(PATHS, components={"securitySchemes": KEY}))
    assert len(client_tests.tests_of(made)) == 4
    files = render(made).files
    for name in DIALECTS:
        readme = files[f"{name}/README.md"]
        for heading in (
            *("Load", "First call", "Authentication", "Options", "Models", "Errors", "Tests"),
        ):
            assert f"\n## {heading}\n" in readme
        assert "client key: 'secret'" in readme
        assert "PetStoreClient" in readme
