"""A document that is none of ours becomes a client that loads, and that asks as it should."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

import pytest
from foreign import document, generate_into, operation, written

from systems import Amber, GnuSmalltalk, OldSqueak, System, answer, gst_program
from systems.squeak.machine import Squeak


class Store(BaseHTTPRequestHandler):
    """Answers what it was asked; /v1/pets/slow takes longer than any test waits."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("slow"):
            time.sleep(3)
        asked = {
            "method": self.command,
            "path": self.path,
            "token": self.headers.get("Authorization"),
            "body": json.loads(body) if body else None,
        }
        content = b"" if self.command == "DELETE" else json.dumps(asked).encode()
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a running store."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def system_with(folder: Path, dialect: str, work: Path) -> System:
    """A system with the packages in a folder filed in."""
    if dialect == "amber":
        return Amber(folder)
    if dialect == "gst":
        return GnuSmalltalk(folder)
    return OldSqueak(Squeak(work), folder)


def image_names() -> list[str]:
    """The systems that are here."""
    return ["amber", "squeak", *(["gst"] if gst_program() else [])]


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with the client of the pet store filed in."""
    folder = tmp_path_factory.mktemp("pets")
    generate_into(folder, Path(__file__).parent / "petstore.json", request.param)
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def test_each_operation_asks_what_the_document_says(image: System, store: str) -> None:
    asked = answer(
        image,
        f"| c | c := PetStoreClient baseUrl: '{store}';; c token: 'secret';; "
        "{c listPets. c listPetsOptions: {'limit' -> 3}. "
        "c createPet: (c fields: {'name' -> 'Rex'. 'age' -> (1 / 2)}). "
        "c showPetById: 'a b/c'}",
        "PetStorePlatform",
    )
    assert [(a["method"], a["path"]) for a in asked] == [
        ("GET", "/v1/pets"),
        ("GET", "/v1/pets?limit=3"),
        ("POST", "/v1/pets"),
        ("GET", "/v1/pets/a%20b%2Fc"),
    ]
    assert asked[2]["body"] == {"name": "Rex", "age": 0.5}
    assert {a["token"] for a in asked} == {"Bearer secret"}


def test_an_answer_without_a_body_is_nil(image: System, store: str) -> None:
    expression = f"(PetStoreClient baseUrl: '{store}') deletePet: 'x'"
    assert answer(image, expression, "PetStorePlatform") is None


def test_the_default_client_asks_the_documents_server(image: System) -> None:
    assert (
        answer(image, "PetStoreClient default baseUrl", "PetStorePlatform")
        == "http://pets.example/v1"
    )


def test_a_slow_server_is_an_error_after_the_time_limit(image: System, store: str) -> None:
    said = answer(
        image,
        f"| c | c := PetStoreClient baseUrl: '{store}';; c timeLimit: 1;; "
        "[c showPetById: 'slow'. 'nothing'] on: PetStoreConnectionError "
        "do: [:error | error messageText]",
        "PetStorePlatform",
    )
    assert "no answer" in said


JAVASCRIPT = ("arguments", "await", "class", "default", "delete", "eval", "function", "let", "new")
SMALLTALK = ("self", "super", "thisContext", "nil", "true", "token", "baseUrl", "timeLimit")


@pytest.mark.parametrize("dialect", image_names())
def test_no_name_of_a_parameter_or_operation_means_anything(
    dialect: str, store: str, tmp_path: Path
) -> None:
    words = [*JAVASCRIPT, *SMALLTALK, "value", "id", "id"]
    given = [{"name": word, "in": "query", "required": True} for word in dict.fromkeys(words)]
    paths = {"/{id}": {"get": operation(operationId="ask", parameters=given[:14])}}
    paths["/b/{id}"] = {"get": operation(operationId="other", parameters=given[14:])}
    for word in (*words, "initialize", "hash", "copy", "printOn:", "isNil", "name"):
        paths[f"/v1/{word}"] = {"get": operation(operationId=word)}
    made = generate_into(tmp_path, written(tmp_path, document(paths)), dialect)
    image = system_with(tmp_path, dialect, tmp_path)
    sent = " ".join(f"{part.keyword} '{part.name}'" for part in made.methods[0].pattern.parts)
    asked, printed, same = answer(
        image,
        f"| c set | c := PetStoreClient baseUrl: '{store}';; set := Set new;; set add: c;; "
        f"set add: c;; {{c {sent}. c printString. set size}}",
        "PetStorePlatform",
    )
    assert dict(parse_qsl(urlsplit(asked["path"]).query)) == {
        p["name"]: p["name"] for p in given[:14]
    }
    assert (printed, same) == ("a PetStoreClient", 1)
