"""Three small APIs: a stand-in server checks calls as the users of their clients make them."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from foreign import generate_into
from test_foreign_api import image_names, system_with

from bridge.generator.api.document import read_api
from bridge.standin.server import serve
from systems import System, answer

APIS = Path(__file__).parent / "apis"
CLIENTS = {"pets": "CornerPets", "tracker": "IssueTracker", "uploads": "UploadService"}


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Where the stand-ins run."""
    servers = {name: serve(read_api(APIS / f"{name}.yaml"), "127.0.0.1", 0) for name in CLIENTS}
    for server in servers.values():
        Thread(target=server.serve_forever, daemon=True).start()
    yield {name: f"http://127.0.0.1:{server.server_port}" for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()


@pytest.fixture(scope="module", params=image_names())
def images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, System]:
    """Each system, with one of the clients filed in."""
    found = {}
    for name in CLIENTS:
        folder = tmp_path_factory.mktemp(name)
        generate_into(folder, APIS / f"{name}.yaml", request.param, models=("*",))
        found[name] = system_with(folder, request.param, tmp_path_factory.mktemp("image"))
    return found


def ask(
    images: dict[str, System], addresses: dict[str, str], name: str, first: str, *asked: str
) -> Any:
    """What a client `c`, told something first, answers to each of some expressions."""
    prefix = CLIENTS[name]
    listed = ". ".join(asked)
    return answer(
        images[name],
        f"| c | c := {prefix}Client baseUrl: '{addresses[name]}';; {first};; {{{listed}}}",
        f"{prefix}Platform",
    )


@pytest.mark.parametrize("name", CLIENTS)
def test_the_rendered_tests_pass_against_the_stand_in(
    images: dict[str, System], addresses: dict[str, str], name: str
) -> None:
    prefix = CLIENTS[name]
    test = f"{prefix}ClientTest"
    said = images[name].run_with_tests(
        f"{prefix}Platform current writeJson: "
        f"{{{test} testNames size. {test} failuresAt: '{addresses[name]}'}}"
    )
    operations = len(read_api(APIS / f"{name}.yaml").operations)
    assert said == f"[{operations},[]]"


def test_the_rendered_tests_fail_against_another_api(
    images: dict[str, System], addresses: dict[str, str]
) -> None:
    said = images["pets"].run_with_tests(
        f"(CornerPetsClientTest failuresAt: '{addresses['tracker']}') size printString"
    )
    assert said == str(len(read_api(APIS / "pets.yaml").operations))


def test_a_pet_store(images: dict[str, System], addresses: dict[str, str]) -> None:
    kinds, born, name, lives, added, gone, said = ask(
        images,
        addresses,
        "pets",
        "c key: 'k'",
        "c listPets collect: [:each | each class name]",
        "(c listPets at: 1) born year",
        "(c listPets at: 2) name",
        "(c listPets at: 2) lives",
        "(c addPet: (CornerPetsDog new kind: 'dog'; name: 'Rex'; barks: true; yourself)) "
        "class name",
        "c removePet: 7",
        "([c addPet: CornerPetsDog new. ''] on: CornerPetsBadRequestError "
        "do: [:e | e messageText])",
    )
    assert kinds == ["CornerPetsDog", "CornerPetsCat"]
    assert (born, name, lives, added) == (2020, "Minou ♥", 9, "CornerPetsDog")
    assert gone is None
    assert said == "the body has no kind"


def test_an_issue_tracker(images: dict[str, System], addresses: dict[str, str]) -> None:
    numbers, total, hour, label, text, refused, nowhere = ask(
        images,
        addresses,
        "tracker",
        "c token: 't'",
        "((c pagesOf: [:each | each listIssues: 'a/b']) next: 5) collect: [:each | each number]",
        "((c returning: #response) listIssues: 'a/b') headerAt: 'x-total'",
        "((c listIssues: 'a/b') at: 1) opened hour",
        "(((c listIssues: 'a/b') at: 2) labels at: 1) name",
        "c readText: 'a' number: 3 xReader: 'ann'",
        "([c token: nil; listIssues: 'a'. ''] on: IssueTrackerAuthenticationError "
        "do: [:e | e status])",
        "([c send: 'GET' to: '/nowhere'. ''] on: IssueTrackerNotFoundError do: [:e | e status])",
    )
    assert numbers == [1, 2, 1, 2, 1]
    assert (total, hour, label) == ("40", 3, "bug")
    assert text == "# Title\n\nIt *fails*! Grüße\n"
    assert (refused, nowhere) == (401, 404)


def test_an_upload_service(images: dict[str, System], addresses: dict[str, str]) -> None:
    kept, bytes_, size, title, note, events = ask(
        images,
        addresses,
        "uploads",
        "c login: 'ann' password: 'secret'",
        "(c upload: 'a b.png' body: (UploadServicePlatform current bytesFrom: #(0 255 10))) "
        "digest size",
        "(c download: 'a b.png') size",
        "((c returning: #response) measure: 'x') status",
        "(c submit: (c fields: {'title' -> 'T'. 'count' -> 2})) kept year",
        "c note: 'Merci'",
        "((c returning: #response) watch) events collect: [:each | each at: 'data']",
    )
    assert kept == len("example")
    assert (bytes_, size, title) == (5, 200, 2026)
    assert note is None
    assert events == ["1", "2"]
