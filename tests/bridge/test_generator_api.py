"""A document becomes plain objects, whatever form it has, or an error says what is where."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from foreign import document, json_body, operation, read, written

from bridge.generator.api.document import read_api
from bridge.generator.api.reading import parse
from bridge.generator.errors import DocumentError
from bridge.generator.problems import ProblemKind
from bridge.resources import OPENAPI

YAML = """\
openapi: 3.0.3
info: {title: Norway, version: 1.10}
paths:
  /no:
    get:
      operationId: no
      summary: 2020-01-01
      responses:
        200: &ok
          description: yes
        201:
          <<: *ok
"""


BOMB = "a0: &a0 x\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{','.join([f'*a{i}'] * 10)}]\n" for i in range(12)
)


def served(folder: Path) -> ThreadingHTTPServer:
    """A web server of a folder's files."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def schema_of(folder: Path, schema: Any, **schemas: Any) -> Any:
    """The schema of a request body, read; the others are components."""
    paths = {"/x": {"post": operation(requestBody=json_body(schema))}}
    (found,) = read(folder, document(paths, components={"schemas": schemas})).operations
    return found.body.json.schema


def test_yaml_is_read_as_json_values(tmp_path: Path) -> None:
    (found,) = read(tmp_path, YAML).operations
    assert (found.path, found.id, found.summary) == ("/no", "no", "2020-01-01")
    assert [response.status for response in found.responses] == ["200", "201"]
    assert [response.description for response in found.responses] == ["yes", "yes"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_every_encoding_of_unicode_is_read(encoding: str) -> None:
    assert parse('{"ä": "宠物"}'.encode(encoding), "test") == {"ä": "宠物"}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"{", "neither JSON nor YAML"),
        (b"a: [", "neither JSON nor YAML"),
        (b"\xff\xfe\x00", "not Unicode text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"? [a]\n: b", "a key that is not text"),
        (b"a: &a [*a]", "within its own anchor"),
        (BOMB.encode(), "its YAML aliases expand"),
    ],
)
def test_what_is_no_value_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        parse(raw, "test")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "not an object"),
        ("3", "not an object"),
        ('{"swagger": "2.0"}', "Swagger 2.0 is not read; convert it first, .*swagger2openapi"),
        ("swagger: 2.0", "Swagger 2.0 is not read"),
        ('{"openapi": "4.0.0"}', "its version is 4.0.0"),
        ("{}", "its version is not given"),
    ],
)
def test_a_file_that_is_no_openapi_3_document_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(DocumentError, match=problem):
        read(tmp_path, text)


def test_methods_of_version_3_2_are_read_from_that_version_on(tmp_path: Path) -> None:
    item = {"query": operation(), "additionalOperations": {"COPY": operation(operationId="c")}}
    new = read(tmp_path, document({"/x": item}, openapi="3.2.0"))
    assert [found.route for found in new.operations] == ["QUERY /x", "COPY /x"]
    assert not read(tmp_path, document({"/x": item})).operations


def test_references_are_followed_wherever_they_may_stand(tmp_path: Path) -> None:
    parts = {
        "pathItems": {"A": {"get": operation(parameters=[{"$ref": "#/components/parameters/P"}])}},
        "parameters": {"P": {"$ref": "other.json#/parts/a~1b%20c"}},
        "responses": {"R": {"description": "Done.", "content": {"text/plain": {}}}},
    }
    other = {"parts": {"a/b c": {"name": "p", "in": "query", "schema": {"$ref": "#/s"}}}}
    written(tmp_path, {**other, "s": {"type": "integer"}}, "other.json")
    paths = {"/x": {"$ref": "#/components/pathItems/A"}}
    (found,) = read(tmp_path, document(paths, components=parts)).operations
    assert found.pointer == "#/paths/~1x/get"
    (parameter,) = found.parameters
    assert (parameter.name, parameter.schema.types) == ("p", {"integer"})


def test_what_stands_beside_a_reference_counts(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path, {"$ref": "#/components/schemas/A", "description": "Mine."}, A={"type": "string"}
    )
    assert (schema.description, schema.types) == ("Mine.", {"string"})


def test_references_to_themselves_are_named_and_skipped(tmp_path: Path) -> None:
    parts = {"A": {"$ref": "#/components/parameters/B"}, "B": {"$ref": "#/components/parameters/A"}}
    bad = operation(parameters=[{"$ref": "#/components/parameters/A"}])
    paths = {"/x": {"get": bad, "post": operation()}}
    api = read(tmp_path, document(paths, components={"parameters": parts}))
    assert [found.verb for found in api.operations] == ["POST"]
    (problem,) = (p for p in api.problems if p.kind is ProblemKind.SKIPPED)
    assert problem.pointer == "#/paths/~1x/get"
    assert "a reference to itself" in problem.text


def test_schemas_may_contain_themselves(tmp_path: Path) -> None:
    tree = {
        "allOf": [{"$ref": "#/components/schemas/Tree"}, {"properties": {"size": {}}}],
        "properties": {"left": {"$ref": "#/components/schemas/Tree"}},
        "anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}],
    }
    schema = schema_of(tmp_path, {"$ref": "#/components/schemas/Tree"}, Tree=tree)
    assert {*schema.properties} == {"left", "size"}
    assert schema.properties["left"].identity == schema.identity
    assert schema.types == {"object", "null"}


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (True, set()),
        ({}, set()),
        ({"type": ["string", "null"]}, {"string", "null"}),
        ({"type": "string", "nullable": True}, {"string", "null"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"string", "null"}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"string", "integer"}),
        ({"allOf": [{"type": "string"}]}, {"string"}),
        ({"properties": {"a": {}}}, {"object"}),
    ],
)
def test_types_of_every_version(tmp_path: Path, schema: Any, types: set[str]) -> None:
    assert schema_of(tmp_path, schema).types == types


def test_a_schema_may_be_false(tmp_path: Path) -> None:
    assert schema_of(tmp_path, False).never


def test_properties_of_a_schema_are_found_through_references_and_allof(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        {"$ref": "#/components/schemas/B"},
        A={"properties": {"a": {}}, "required": ["a"]},
        B={"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"$ref": {}}}]},
    )
    assert {*schema.properties} == {"a", "$ref"}
    assert schema.required == {"a"}


def test_null_is_nothing_wherever_it_stands(tmp_path: Path) -> None:
    entry = {"operationId": "a", "parameters": None, "requestBody": None, "responses": None}
    content = document({"/x": {"get": {**entry, "tags": None, "security": None}, "post": None}})
    content |= {"servers": None, "components": None, "tags": None}
    (found,) = read(tmp_path, content).operations
    assert (found.parameters, found.responses, found.tags) == ((), (), ())
    assert not read(tmp_path, {**content, "paths": None}).operations


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (operation(parameters="x"), "not a list"),
        (operation(parameters=[3]), "without a name"),
        (operation(parameters=[{"name": "x"}]), "a parameter in a None: x"),
        (operation(parameters=[{"name": "x", "in": "body"}]), "a parameter in a body: x"),
        (operation(parameters=[{"name": "x", "in": "path", "style": "form"}]), "the style 'form'"),
        (operation(parameters=[{"$ref": "#/nowhere"}]), "a reference to nothing"),
        (operation(parameters=[{"$ref": "none.json#/x"}]), "cannot be read"),
        (operation(parameters=[{"$ref": "http://127.0.0.1:1/x"}]), "--allow-remote-refs"),
        (operation(requestBody=[]), "not an object"),
        (operation(responses={"200": {"content": {"a/b": 3}}}), ""),
        (operation(**{"x-smalltalk-selector": "doIt"}), "not a list of message patterns"),
        (3, "not an object"),
    ],
)
def test_an_operation_that_cannot_be_read_is_skipped_with_its_place(
    tmp_path: Path, entry: Any, problem: str
) -> None:
    api = read(tmp_path, document({"/some/path": {"post": entry, "get": operation()}}))
    assert "GET" in [found.verb for found in api.operations]
    skipped = [p for p in api.problems if p.kind is ProblemKind.SKIPPED]
    if problem:
        assert [found.verb for found in api.operations] == ["GET"]
        assert problem in skipped[0].text
        assert skipped[0].pointer == "#/paths/~1some~1path/post"


def test_a_path_without_a_slash_is_skipped(tmp_path: Path) -> None:
    api = read(tmp_path, document({"pets": {"get": operation()}, "/x": {"get": operation()}}))
    assert [found.path for found in api.operations] == ["/x"]
    assert any("does not begin with a slash" in problem.text for problem in api.problems)


def test_a_breach_of_the_specification_is_said(tmp_path: Path) -> None:
    api = read(tmp_path, document({"/x": {"get": {**operation(), "tags": "x"}}}))
    assert any(p.kind is ProblemKind.INVALID and "tags" in p.pointer for p in api.problems)
    assert not read(tmp_path, document({"/x": {"get": operation()}})).problems


def test_a_document_without_operations_is_a_client_with_a_warning(tmp_path: Path) -> None:
    content = document({})
    del content["paths"]
    webhooks = {"w": {"post": operation()}}
    (problem,) = read(tmp_path, {**content, "webhooks": webhooks}).problems
    assert "no operations" in problem.text


def test_an_operations_parameter_takes_the_place_of_its_paths(tmp_path: Path) -> None:
    shared = [{"name": "v", "in": "query", "required": True, "schema": {"type": "string"}}]
    own = [{"name": "v", "in": "query", "schema": {"type": "integer"}}]
    item = {"parameters": [*shared, {**shared[0], "name": "w"}], "get": operation(parameters=own)}
    (found,) = read(tmp_path, document({"/x": item})).operations
    assert [(p.name, p.required) for p in found.parameters] == [("v", False), ("w", True)]


def test_styles_have_the_defaults_of_their_place(tmp_path: Path) -> None:
    given = [{"name": p, "in": p, "schema": {}} for p in ("query", "header", "cookie")]
    given += [{"name": "id", "in": "path", "required": True, "style": "matrix", "schema": {}}]
    (found,) = read(tmp_path, document({"/{id}": {"get": operation(parameters=given)}})).operations
    styles = {p.name: (p.style, p.explode) for p in found.parameters}
    assert styles == {
        "id": ("matrix", False),
        "query": ("form", True),
        "header": ("simple", False),
        "cookie": ("form", True),
    }


def test_headers_that_no_parameter_may_set_are_none(tmp_path: Path) -> None:
    given = [{"name": n, "in": "header", "schema": {}} for n in ("Accept", "authorization", "X")]
    (found,) = read(tmp_path, document({"/x": {"get": operation(parameters=given)}})).operations
    assert [p.name for p in found.parameters] == ["X"]


def test_server_variables_are_filled_in(tmp_path: Path) -> None:
    server = {
        "url": "https://{region}.example/{v}/",
        "variables": {"region": {"default": "eu", "enum": ["eu", "us"]}, "v": {"default": "v2"}},
    }
    own = [{"url": "https://other.example"}]
    paths = {"/x": {"get": operation(servers=own)}, "/y": {"get": operation(operationId="y")}}
    api = read(tmp_path, document(paths, servers=[server]))
    assert [s.url for s in api.servers] == ["https://eu.example/v2"]
    assert api.servers[0].variables[0].choices == ("eu", "us")
    assert [[s.url for s in o.servers] for o in api.operations] == [["https://other.example"], []]


def test_security_is_an_operations_own_or_the_documents(tmp_path: Path) -> None:
    schemes = {"k": {"type": "apiKey", "in": "header", "name": "X"}, "o": {"type": "oauth2"}}
    paths = {
        "/a": {"get": operation()},
        "/b": {"get": operation(operationId="b", security=[])},
        "/c": {"get": operation(operationId="c", security=[{"o": ["read"]}, {}])},
    }
    content = document(paths, security=[{"k": []}], components={"securitySchemes": schemes})
    api = read(tmp_path, content)
    assert [o.security for o in api.operations] == [
        ((("k", ()),),),
        (),
        ((("o", ("read",)),), ()),
    ]
    assert api.security_schemes["k"].parameter == "X"


def test_a_document_is_read_from_an_address(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_bytes(OPENAPI.read_bytes())
    server = served(tmp_path)
    try:
        assert read_api(f"http://127.0.0.1:{server.server_port}/spec.json").operations
        with pytest.raises(DocumentError, match="cannot be read"):
            read_api(f"http://127.0.0.1:{server.server_port}/none.json")
    finally:
        server.shutdown()


def test_references_to_addresses_are_followed_if_that_is_allowed(tmp_path: Path) -> None:
    written(tmp_path / "far", {"p": {"name": "q", "in": "query", "schema": {}}}, "p.json")
    server = served(tmp_path / "far")
    try:
        reference = {"$ref": f"http://127.0.0.1:{server.server_port}/p.json#/p"}
        content = document({"/x": {"get": operation(parameters=[reference])}})
        assert not read(tmp_path, content).operations
        (found,) = read(tmp_path, content, allow_remote=True).operations
        assert [p.name for p in found.parameters] == ["q"]
    finally:
        server.shutdown()


def test_a_document_from_the_network_reads_no_files(tmp_path: Path) -> None:
    written(tmp_path, {"p": {"name": "q", "in": "query"}}, "p.json")
    reference = {"$ref": f"{(tmp_path / 'p.json').as_uri()}#/p"}
    content = document({"/x": {"get": operation(parameters=[reference])}})
    written(tmp_path / "far", content, "spec.json")
    server = served(tmp_path / "far")
    try:
        address = f"http://127.0.0.1:{server.server_port}/spec.json"
        api = read_api(address, allow_remote=True)
    finally:
        server.shutdown()
    assert not api.operations
    assert "names a file" in api.problems[0].text


def test_an_operation_in_a_file_of_its_own_is_read_there(tmp_path: Path) -> None:
    own = operation(parameters=[{"$ref": "#/p"}])
    written(tmp_path / "parts", {"get": own, "p": {"name": "q", "in": "query"}}, "pets.json")
    api = read(tmp_path, document({"/x": {"get": {"$ref": "parts/pets.json#/get"}}}))
    (found,) = api.operations
    assert (found.id, found.pointer) == ("doIt", "#/paths/~1x/get")
    assert [p.name for p in found.parameters] == ["q"]
