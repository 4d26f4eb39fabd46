"""Model classes: fields as Smalltalk objects, and back to the JSON that the server takes."""

import json
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from foreign import HOSTILE, document, generate_into, json_body, written
from test_foreign_api import image_names, system_with

from systems import System, answer

REX = {
    "kind": "dog",
    "name": "Rex",
    "born": "2020-05-03",
    "seen": "2020-05-03T10:20:30.25+02:00",
    "class": "terrier",
    "rows": [[{"label": "a", "boss": {"name": "Jo"}}]],
    "photo": "aGk=",
    "friends": [{"kind": "cat", "name": "Tom", "lives": 9}],
    "owner": {"name": "Ann", "address": {"city": "Rome"}},
    "extra": [1, {"deep": None}],
}


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def thing(properties: dict[str, Any], *required: str, **content: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], **content}


TEXT = {"type": "string"}
PET = thing(
    {
        "kind": TEXT,
        "name": {"type": "string", "description": f"What it is called. {HOSTILE}"},
        "born": {"type": "string", "format": "date"},
        "seen": {"type": ["string", "null"], "format": "date-time"},
        "class": TEXT,
        "status": {"type": "string", "enum": ["sold", "don't", HOSTILE]},
        "owner": {"allOf": [reference("Owner")], "description": "Whose it is."},
        "rows": {"type": "array", "items": {"type": "array", "items": reference("Tag")}},
        "photo": {"type": "string", "format": "byte"},
    },
    "kind",
    "name",
    description=HOSTILE,
    discriminator={
        "propertyName": "kind",
        "mapping": {"cat": "#/components/schemas/Cat", "dog": "Dog"},
    },
)
SCHEMAS = {
    "Pet": PET,
    "Cat": {"allOf": [reference("Pet"), thing({"lives": {"type": "integer"}})]},
    "Dog": {
        "allOf": [
            reference("Pet"),
            thing({"friends": {"type": "array", "items": reference("Pet")}}),
        ]
    },
    "Owner": thing({"name": TEXT, "address": thing({"city": TEXT})}),
    "Tag": thing({"label": TEXT}, additionalProperties=reference("Owner")),
    "Shape": {"oneOf": [reference("Circle"), reference("Square")]},
    "Circle": thing({"radius": {"type": "number"}}, "radius"),
    "Square": thing({"side": {"type": "number"}}, "side"),
    "Vehicle": {
        "oneOf": [reference("Car"), reference("Boat")],
        "discriminator": {"propertyName": "type"},
    },
    "Car": thing({"type": {"const": "Car"}, "wheels": {"type": "integer"}}),
    "Boat": thing({"type": {"const": "Boat"}, "sails": {"type": "integer"}}),
    "Event": {"anyOf": [reference("Made"), reference("Gone")]},
    "Made": thing(
        {"is": {"enum": ["made"]}, "at": {"type": "string", "format": "date-time"}}, "is"
    ),
    "Gone": thing({"is": {"enum": ["gone"]}}, "is"),
    "Error": thing({"message": TEXT}),
    "Node": thing({"next": {"oneOf": [reference("Node"), {"type": "null"}]}}),
}


class Store(BaseHTTPRequestHandler):
    """Answers the body that it was sent, or the one pet that it has."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = body or json.dumps([REX]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with the classes of all schemas filed in."""
    pets = {"type": "array", "items": reference("Pet")}
    body = reference("Pet")
    paths = {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "responses": {"200": {"description": "Pets.", **json_body(pets)}},
            },
            "post": {
                "operationId": "addPet",
                "requestBody": json_body(body, required=True),
                "responses": {"200": {"description": "It.", **json_body(body)}},
            },
        }
    }
    folder: Path = tmp_path_factory.mktemp("models")
    content = document(paths, components={"schemas": SCHEMAS})
    generate_into(folder, written(folder, content), request.param, models=("*",))
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def value(image: System, expression: str) -> Any:
    return answer(image, expression, "PetStorePlatform")


def rex() -> str:
    """An expression that reads Rex."""
    return f"(PetStorePet fromJson: '{json.dumps(REX)}')"


def test_fields_are_smalltalk_objects(image: System) -> None:
    found = value(
        image,
        f"| p | p := {rex()};; {{p name. p born year. p seen hour. p seen offset. "
        "p seen nanosecond. p classValue. ((p rows at: 1) at: 1) label. "
        "(((p rows at: 1) at: 1) additionalAt: 'boss') name. p photo size. "
        "p owner address city. p status. p additionalKeys. p missingKeys. "
        "PetStorePet new missingKeys}",
    )
    assert found == [
        *("Rex", 2020, 10, 7200, 250000000, "terrier", "a", "Jo", 2, "Rome", None),
        *(["extra"], [], ["kind", "name"]),
    ]


def test_what_was_read_is_written_as_it_came(image: System) -> None:
    assert json.loads(value(image, f"{rex()} asJson")) == REX
    same, other = value(
        image,
        f"| p q | p := {rex()};; q := {rex()};; "
        "{p = q and: [p hash = q hash]. (q name: 'Max'; yourself) = p}",
    )
    assert same
    assert not other


def test_what_is_set_is_written_as_json(image: System) -> None:
    text = value(
        image,
        f"| p | p := {rex()};; p born: p seen asDate. p owner address city: 'Oslo'. "
        "p seen: (PetStoreTimestamp fromString: '2021-01-02T03:04:05Z'). "
        "p photo: (PetStorePlatform current bytesFrom: #(0 255)). p status: 'don''t'. "
        "p rows: {{(PetStoreTag new label: 'x'; "
        "additionalAt: 'y' put: (PetStoreOwner new name: 'Z'); yourself)}}. "
        "p friends: {PetStoreCat new lives: 7; yourself}. p owner: nil;; p asJson",
    )
    assert json.loads(text) == {
        **REX,
        "seen": "2021-01-02T03:04:05Z",
        "photo": "AP8=",
        "status": "don't",
        "rows": [[{"label": "x", "y": {"name": "Z"}}]],
        "friends": [{"lives": 7}],
        "owner": None,
    }


def test_a_value_that_is_none_of_an_enumeration_names_those_there_are(image: System) -> None:
    said, choices = value(
        image,
        f"{{[{rex()} status: 'lost'. ''] on: Error do: [:e | e messageText]. "
        "PetStorePet statusChoices}",
    )
    assert "'lost'" in said
    assert "'sold'" in said
    assert choices == ["sold", "don't", HOSTILE]


@pytest.mark.parametrize(
    ("schema", "content", "expected"),
    [
        ("Pet", {"kind": "cat"}, "PetStoreCat"),
        ("Pet", {"kind": "Cat"}, "PetStoreCat"),
        ("Pet", {"kind": "cow"}, "PetStorePet"),
        ("Dog", {"kind": "dog"}, "PetStoreDog"),
        ("Shape", {"side": 2}, "PetStoreSquare"),
        ("Shape", {"edge": 2}, "PetStoreShape"),
        ("Vehicle", {"type": "Boat"}, "PetStoreBoat"),
        ("Event", {"is": "gone"}, "PetStoreGone"),
        ("ErrorModel", {"message": "x"}, "PetStoreErrorModel"),
    ],
)
def test_an_object_is_of_the_class_that_it_says(
    image: System, schema: str, content: dict[str, Any], expected: str
) -> None:
    read = f"PetStore{schema} fromJson: '{json.dumps(content)}'"
    assert value(image, f"({read}) class name") == expected


def test_a_schema_may_contain_itself(image: System) -> None:
    read = '(PetStoreNode fromJson: \'{"next": {"next": null}}\')'
    assert value(image, f"{{{read} next class name. {read} next next}}") == ["PetStoreNode", None]


def test_operations_take_and_answer_models(image: System, store: str) -> None:
    classes, name, sent = value(
        image,
        f"| c all | c := PetStoreClient baseUrl: '{store}';; all := c listPets;; "
        "{all collect: [:each | each class name]. (all at: 1) owner name. "
        "(c addPet: (all at: 1)) asJson}",
    )
    assert (classes, name) == (["PetStoreDog"], "Ann")
    assert json.loads(sent) == REX


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:00Z",
        "2000-02-29T23:59:59+00:00",
        "1969-12-31t23:59:59z",
        "2026-11-25T16:30:00.123456-05:30",
    ],
)
def test_a_timestamp_is_the_moment_of_its_text(image: System, text: str) -> None:
    expected = int(datetime.fromisoformat(text.upper()).timestamp() // 1)
    stamp = f"(PetStoreTimestamp fromString: '{text}')"
    assert value(image, f"{{{stamp} asSeconds. {stamp} asString}}") == [expected, text]


def test_what_is_no_timestamp_is_an_error(image: System) -> None:
    said = value(
        image,
        "#('yesterday' '2020-13' '2020-01-01T1') collect: [:each | "
        "[PetStoreTimestamp fromString: each. 'read'] on: Error do: [:e | e messageText]]",
    )
    assert all("not a date and time" in each for each in said)
