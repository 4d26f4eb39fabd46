"""A document becomes methods of a client, or an error that says what stands where."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bridge.generator.document import Document, read_document

from bridge.generator.client import client_of
from bridge.generator.dialects import DIALECTS
from bridge.generator.errors import DocumentError
from bridge.generator.packages import packages_of
from bridge.generator.selectors import camel_case, parse_pattern, plain
from bridge.generator.templates import Templates
from bridge.resources import OPENAPI


def document(paths: dict[str, Any], **parts: Any) -> Document:
    content = {
        "openapi": "3.1.0",
        "info": {"title": "Pet store", "version": "1"},
        "paths": paths,
        **parts,
    }
    return Document(content, json.dumps(content).encode())


def operation(**content: Any) -> dict[str, Any]:
    ok = {"200": {"description": "Done.", "content": {"application/json": {"schema": {}}}}}
    return {"operationId": "doIt", "summary": "Do it.", "responses": ok, **content}


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def test_each_operation_of_ours_has_a_method_a_selector() -> None:
    methods = client_of(read_document(OPENAPI)).methods
    content = json.loads(OPENAPI.read_text())
    declared = [
        text
        for item in content["paths"].values()
        for entry in item.values()
        for text in entry["x-smalltalk-selector"]
    ]
    assert [method.pattern.selector for method in methods] == [
        parse_pattern(text).selector for text in declared
    ]


def test_arguments_go_to_path_query_and_body() -> None:
    body = json_body({"type": "object", "properties": {"max_tokens": {}}})
    entry = operation(
        requestBody=body,
        parameters=[{"name": "id", "in": "path"}, {"name": "step", "in": "query"}],
        **{"x-smalltalk-selector": ["do: id at: step limit: max_tokens with: options"]},
    )
    (method,) = client_of(document({"/a/{id}/b": {"post": entry}})).methods
    assert str(method.pattern) == "do: id at: step limit: maxTokens with: options"
    assert [p if isinstance(p, str) else p.field for p in method.path] == ["/a/", "id", "/b"]
    assert [part.field for part in method.query] == ["step"]
    assert [part.field for part in method.fields] == ["max_tokens"]
    assert method.options
    assert method.options.keyword == "with:"


def test_an_operation_without_selectors_gets_what_it_must_have_and_all_it_can_have() -> None:
    entry = operation(
        operationId="list_pets",
        parameters=[
            {"name": "shop-id", "in": "path"},
            {"name": "limit", "in": "query"},
            {"name": "kind", "in": "query", "required": True},
        ],
    )
    methods = client_of(document({"/{shop-id}": {"get": entry}})).methods
    assert [method.pattern.selector for method in methods] == [
        "listPets:kind:",
        "listPets:limit:kind:",
    ]


def test_properties_of_a_schema_are_found_through_references_and_allof() -> None:
    schemas = {
        "A": {"properties": {"a": {}}},
        "B": {"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"b": {}}}]},
    }
    entry = operation(
        requestBody=json_body({"$ref": "#/components/schemas/B"}),
        **{"x-smalltalk-selector": ["do: a and: b"]},
    )
    paths = {"/x": {"post": entry}}
    (method,) = client_of(document(paths, components={"schemas": schemas})).methods
    assert [part.field for part in method.fields] == ["a", "b"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (operation(parameters=[{"name": "s", "in": "cookie"}]), "cookie: s"),
        (operation(parameters=[{"name": "k", "in": "header", "required": True}]), "header: k"),
        (operation(requestBody={"content": {"image/png": {}}}), "not JSON: image/png"),
        (operation(**{"x-smalltalk-selector": ["do: nothing"]}), "parameter nothing"),
        (operation(**{"x-smalltalk-selector": ["do: a and"]}), "not a message pattern"),
        (operation(parameters=[{"$ref": "other.json#/x"}]), "another document"),
        (operation(parameters=[{"$ref": "#/nowhere"}]), "a reference to nothing"),
        (operation(parameters=[{"name": "x"}]), "a parameter in a None: x"),
        (operation(**{"x-smalltalk-selector": "doIt"}), "not a list of message patterns"),
    ],
)
def test_what_is_not_supported_is_named_with_its_place(entry: dict, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem) as raised:
        client_of(document({"/some/path": {"post": entry}}))
    assert "#/paths/~1some~1path/post" in str(raised.value)


def test_two_operations_with_one_selector_are_an_error() -> None:
    entry = operation(**{"x-smalltalk-selector": ["twice"]})
    with pytest.raises(DocumentError, match="twice is the selector of GET /a"):
        client_of(document({"/a": {"get": entry}, "/b": {"get": entry}}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"swagger": "2.0"}', "its version is 2.0"),
        ('{"openapi": "3.0.0", "info": {}}', "#/paths: missing"),
    ],
)
def test_a_file_that_is_no_openapi_3_document_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match=problem):
        read_document(path)


def test_names_become_smalltalk_names() -> None:
    assert camel_case("activation_hooks") == "activationHooks"
    assert camel_case("X-Rate-Limit") == "xRateLimit"
    assert camel_case("2fa") == "n2fa"
    with pytest.raises(ValueError, match="no letters"):
        camel_case("+")


def test_text_fits_into_a_chunk() -> None:
    assert plain("Hé!\n two  lines") == "H?. two lines"


def test_an_operation_cannot_take_the_name_of_what_every_connection_does() -> None:
    paths = {"/token": {"get": operation(operationId="token")}}
    client = client_of(document(paths))
    with pytest.raises(DocumentError, match="LMStudioConnection has a method token of its own"):
        packages_of(client, DIALECTS["gst"], Templates())


def test_a_document_is_read_from_an_address(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_bytes(OPENAPI.read_bytes())
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        read = read_document(f"http://127.0.0.1:{server.server_port}/spec.json")
        with pytest.raises(DocumentError, match="cannot be read"):
            read_document(f"http://127.0.0.1:{server.server_port}/none.json")
    finally:
        server.shutdown()
    assert read.raw == OPENAPI.read_bytes()
