"""Each change of a document is named, with what it means for a caller."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign import client, document, operation, written
from test_generator_drift import bridge

from bridge.generator.diff import Change, Severity, diff_of
from bridge.resources import OPENAPI

Edit = Callable[[dict[str, Any]], Any]


def pets() -> dict[str, Any]:
    """A document in which each kind of thing stands once."""
    pet = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer"},
            "kind": {"allOf": [{"$ref": "#/components/schemas/Kind"}], "description": "Which."},
            "owner": {"$ref": "#/components/schemas/Owner"},
            "parents": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
            "home": {"oneOf": [{"$ref": "#/components/schemas/Owner"}, {"type": "string"}]},
        },
    }
    reference = {"$ref": "#/components/schemas/Pet"}
    answer = {"200": {"description": "x", "content": {"application/json": {"schema": reference}}}}
    body = {"required": False, "content": {"application/json": {"schema": reference}}}
    path_parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}}
    return {
        **document(
            {
                "/pets": {
                    "get": operation(operationId="list", parameters=[limit], responses=answer),
                    "post": operation(operationId="add", requestBody=body, responses={}),
                },
                "/pets/{id}": {
                    "get": operation(
                        operationId="one", parameters=[path_parameter], responses=answer
                    )
                },
            }
        ),
        "servers": [{"url": "https://h.example"}],
        "security": [{"key": []}],
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
            "schemas": {
                "Pet": pet,
                "Kind": {"type": "string", "enum": ["cat", "dog"]},
                "Owner": {"type": "object", "properties": {"phone": {"type": "string"}}},
            },
        },
    }


def pet(d: dict[str, Any]) -> dict[str, Any]:
    return d["components"]["schemas"]["Pet"]["properties"]


def get(d: dict[str, Any]) -> dict[str, Any]:
    return d["paths"]["/pets"]["get"]


def post(d: dict[str, Any]) -> dict[str, Any]:
    return d["paths"]["/pets"]["post"]


def limit(d: dict[str, Any]) -> dict[str, Any]:
    return get(d)["parameters"][0]


def rename_path(d: dict[str, Any]) -> None:
    item = d["paths"].pop("/pets/{id}")
    item["get"]["parameters"][0]["name"] = "petId"
    d["paths"]["/pets/{petId}"] = item


def changes(folder: Path, edit: Edit) -> list[Change]:
    old, new = pets(), pets()
    edit(new)
    return [*diff_of(client(folder / "a", old), client(folder / "b", new)).changes]


BREAKING: dict[str, tuple[Edit, str]] = {
    "an operation is removed": (lambda d: d["paths"].pop("/pets/{id}"), "GET /pets/{id}: removed"),
    "a parameter's type": (
        lambda d: limit(d).update(schema={"type": "string"}),
        "query parameter limit: integer became string",
    ),
    "a parameter is removed": (lambda d: get(d).update(parameters=[]), "limit: removed"),
    "a parameter is required": (lambda d: limit(d).update(required=True), "limit: required now"),
    "a parameter's style": (
        lambda d: limit(d).update(style="pipeDelimited"),
        "its value is written differently",
    ),
    "a tighter limit": (
        lambda d: limit(d)["schema"].update(maximum=5),
        "maximum is 5, not 9",
    ),
    "a new required parameter": (
        lambda d: get(d)["parameters"].append({"name": "t", "in": "query", "required": True}),
        "query parameter t: added, and required",
    ),
    "a body is required": (lambda d: post(d)["requestBody"].update(required=True), "required now"),
    "a body is removed": (lambda d: post(d).pop("requestBody"), "request body: removed"),
    "a media type is removed": (
        lambda d: post(d)["requestBody"].update(content={"text/plain": {}}),
        "application/json removed",
    ),
    "a nested field is removed": (
        lambda d: d["components"]["schemas"]["Owner"].update(properties={}),
        "GET /pets, response 200.owner.phone: removed",
    ),
    "a nested field's type": (
        lambda d: d["components"]["schemas"]["Owner"]["properties"].update(phone={"type": "null"}),
        "request body.owner.phone: string became null",
    ),
    "an enum's value is removed": (
        lambda d: d["components"]["schemas"]["Kind"].update(enum=["cat"]),
        'request body.kind: "dog" is no longer a value',
    ),
    "a field that is sent is required": (
        lambda d: d["components"]["schemas"]["Pet"].update(required=["name", "age"]),
        "request body.age: required now",
    ),
    "a field that comes may be missing": (
        lambda d: d["components"]["schemas"]["Pet"].update(required=[]),
        "response 200.name: optional now",
    ),
    "a field that comes may be null": (
        lambda d: pet(d).update(age={"type": ["integer", "null"]}),
        "response 200.age: integer became integer or null",
    ),
    "a field's format": (
        lambda d: pet(d)["age"].update(format="int64"),
        "the format none became int64",
    ),
    "a variant is removed": (
        lambda d: pet(d)["home"].update(oneOf=[{"type": "string"}, {"type": "integer"}]),
        "Owner is no longer one of its variants",
    ),
    "a success is removed": (lambda d: get(d).update(responses={}), "response 200: removed"),
    "security is added": (
        lambda d: get(d).update(security=[{"key": [], "more": []}]),
        "security: asks for key and more, not for key",
    ),
    "a key travels elsewhere": (
        lambda d: d["components"]["securitySchemes"]["key"].update({"in": "query"}),
        "security scheme key: the credentials travel differently",
    ),
    "a server is removed": (
        lambda d: d.update(servers=[{"url": "https://new.example"}]),
        "servers: https://h.example removed",
    ),
    "an id, and so a selector": (
        lambda d: get(d).update(operationId="all"),
        "the selector list is removed",
    ),
}
COMPATIBLE: dict[str, tuple[Edit, str]] = {
    "an operation is added": (
        lambda d: d["paths"].update({"/x": {"get": operation()}}),
        "GET /x: added",
    ),
    "a new optional parameter": (
        lambda d: get(d)["parameters"].append({"name": "t", "in": "query"}),
        "query parameter t: added",
    ),
    "a parameter may be more": (
        lambda d: limit(d)["schema"].update(type="number"),
        "integer became number",
    ),
    "a looser limit": (lambda d: limit(d)["schema"].pop("maximum"), "maximum is not limited"),
    "a new field": (lambda d: pet(d).update(colour={"type": "string"}), "colour: added"),
    "a new value of an enum": (
        lambda d: d["components"]["schemas"]["Kind"]["enum"].append("bird"),
        '"bird" is a new value',
    ),
    "deprecated": (lambda d: get(d).update(deprecated=True), "GET /pets: deprecated"),
    "a field is deprecated": (lambda d: pet(d)["age"].update(deprecated=True), "age: deprecated"),
    "a new response": (
        lambda d: get(d)["responses"].update({"404": {"description": "none"}}),
        "response 404: added",
    ),
    "another server": (
        lambda d: d["servers"].append({"url": "https://new.example"}),
        "https://new.example added",
    ),
    "security is less": (lambda d: get(d).update(security=[]), "asks for nothing, not for key"),
    "security has an alternative": (
        lambda d: get(d).update(security=[{"key": []}, {"more": []}]),
        "asks for key or more",
    ),
    "a name in a path": (rename_path, "it was called id"),
    "another default": (
        lambda d: limit(d)["schema"].update(default=3),
        "the default is 3",
    ),
}
TEXT_ALONE: dict[str, tuple[Edit, str]] = {
    "a summary": (lambda d: get(d).update(summary="Other."), "its summary changed"),
    "a field's description": (
        lambda d: pet(d)["age"].update(description="Years."),
        "age: described differently",
    ),
    "the document's version": (lambda d: d["info"].update(version="2"), "its version changed"),
    "tags": (lambda d: get(d).update(tags=["x"]), "its tags changed"),
}


@pytest.mark.parametrize(
    ("severity", "name"),
    [
        *((Severity.BREAKING, name) for name in BREAKING),
        *((Severity.COMPATIBLE, name) for name in COMPATIBLE),
        *((Severity.TEXT, name) for name in TEXT_ALONE),
    ],
)
def test_a_change_has_the_severity_that_it_has_for_a_caller(
    tmp_path: Path, severity: Severity, name: str
) -> None:
    edits = {
        Severity.BREAKING: BREAKING,
        Severity.COMPATIBLE: COMPATIBLE,
        Severity.TEXT: TEXT_ALONE,
    }
    edit, text = edits[severity][name]
    found = changes(tmp_path, edit)
    assert max(change.severity for change in found) is severity
    assert any(text in str(change) and change.severity is severity for change in found), [
        str(change) for change in found
    ]


def test_the_same_document_has_no_changes(tmp_path: Path) -> None:
    assert changes(tmp_path, lambda d: d.update(copy.deepcopy(d))) == []


def test_each_change_names_the_selectors_that_it_touches(tmp_path: Path) -> None:
    found = changes(tmp_path, BREAKING["a nested field is removed"][0])
    touched = {change.subject: change.selectors for change in found}
    assert touched["GET /pets"] == ("list", "listOptions:")
    assert touched["POST /pets"] == ("add", "addOptions:")


def test_schemas_that_contain_themselves_are_compared_once(tmp_path: Path) -> None:
    found = changes(tmp_path, lambda d: pet(d).pop("parents"))
    assert [c.place for c in found if c.subject == "POST /pets"] == ["request body.parents"]


def test_the_command_says_it_in_three_forms_and_by_its_status(tmp_path: Path) -> None:
    old, new = pets(), pets()
    BREAKING["an operation is removed"][0](new)
    specs = ("--spec", written(tmp_path, new, "new.json"), "--diff", written(tmp_path, old))
    said = bridge(*specs)
    assert said == (
        "1 breaking: GET /pets/{id}: removed (selectors: one:)\n"
        "1 breaking, 0 compatible, 0 text only\n"
    )
    status, text = bridge(*specs, "--diff-format", "json").split(" ", 1)
    content = json.loads(text)
    assert (status, content["severity"]) == ("1", "breaking")
    assert content["changes"] == [
        {
            "severity": "breaking",
            "subject": "GET /pets/{id}",
            "place": "",
            "text": "removed",
            "selectors": ["one:"],
        }
    ]
    entry = "- `GET /pets/{id}`: removed (`one:`)"
    assert entry in bridge(*specs, "--diff-format", "changelog")
    same = ("--spec", written(tmp_path, old), "--diff", written(tmp_path, old, "same.json"))
    assert bridge(*same) == "0 no difference\n"
    assert bridge("--diff", tmp_path / "none.json").startswith("2")


def test_our_own_selectors_are_compared_too(tmp_path: Path) -> None:
    content = json.loads(OPENAPI.read_text())
    del content["paths"]["/health"]
    content["paths"]["/v1/models/unload"]["post"]["x-smalltalk-selector"] = ["forgetModel: model"]
    content["paths"]["/v1/tokenize"]["post"]["x-smalltalk-selector"] = ["tokenize: messages"]
    said = bridge("--diff", written(tmp_path, content, "old.json"))
    assert "GET /health: added (selectors: health)" in said
    assert "breaking: POST /v1/models/unload: the selector forgetModel: is removed" in said
    assert "tokenize: is sent as text, not messages" in said
