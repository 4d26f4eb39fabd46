"""A response is read as it comes: its events one by one, its end where the server says it is."""

from collections.abc import Iterator

import pytest
from streams import PATIENCE, Streams, slow_server

from systems import System, answer

WORDS = ["one", "two", "three"]


@pytest.fixture
def server() -> Iterator[tuple[type[Streams], str]]:
    with slow_server() as running:
        yield running


def ask(system: System, base: str, statements: str) -> object:
    """The value of statements that know a connection `c` and a collection `all`."""
    return answer(
        system,
        f"| c all | c := LMStudioConnection baseUrl: '{base}';; c timeLimit: 5;; "
        f"all := OrderedCollection new;; {statements}",
    )


@pytest.mark.parametrize("end", ["closing", "chunked"])
def test_each_event_is_seen_before_the_next_is_sent(
    system: System, server: tuple[type[Streams], str], end: str
) -> None:
    kind, base = server
    found = ask(
        system,
        base,
        f"c events: [:each | each send: 'GET' to: '/{end}/three'] do: [:event | "
        "all add: (event at: 'data'). "
        "c send: 'GET' to: '/seen/' , all size printString];; all",
    )
    assert found == [f"{word} \u00e9" for word in WORDS]
    assert [line.split()[0] for line in kind.log] == ["sent", "seen"] * 3


@pytest.mark.parametrize(
    "reading",
    [
        "c events: stream while: [:event | all add: 1. false]",
        "[c events: stream do: [:event | all add: 1. Error signal: 'enough']] "
        "on: Error do: [:error | all add: 2]",
    ],
)
def test_a_block_that_wants_no_more_closes_the_connection(
    system: System, server: tuple[type[Streams], str], reading: str
) -> None:
    base = server[1]
    stream = "[:each | each send: 'GET' to: '/closing/endless']"
    reading = reading.replace("stream", stream)
    found = ask(system, base, f"{reading};; all add: (c send: 'GET' to: '/closed') text;; all")
    assert found == [1, *([] if "while:" in reading else [2]), "yes"]


def test_a_response_ends_where_its_length_says_though_the_connection_stays(
    system: System, server: tuple[type[Streams], str]
) -> None:
    clock = "NeuroScopePlatform current milliseconds"
    text, milliseconds = ask(
        system,
        server[1],
        f"all add: {clock};; all add: (c send: 'GET' to: '/stays') text;; "
        f"{{all last. {clock} - all first}}",
    )
    assert text == "whole"
    assert milliseconds < PATIENCE * 500


def test_neuroscopes_loaders_read_files_and_see_what_is_there(
    system: System, server: tuple[type[Streams], str]
) -> None:
    base = server[1]
    found = answer(
        system,
        f"{{JSInterface httpGet: '{base}/file'. (JSInterface downloadBinaryFile: '{base}/file') "
        f"asArray. JSInterface checkUrlExists: '{base}/closing/endless'. "
        f"JSInterface checkUrlExists: '{base}/none'. "
        f"[JSInterface httpGet: '{base}/none'] on: LMStudioNotFoundError do: [:error | 'none'].  "
        "[JSInterface checkUrlExists: 'http://127.0.0.1:9/'] "
        "on: LMStudioConnectionError do: [:error | 'nobody']}",
    )
    assert found == ["whole", list(b"whole"), True, False, "none", "nobody"]
