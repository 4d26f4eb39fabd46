"""An image that JavaScript runs: its HTTP is the page's fetch, and never a socket."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
from streams import slow_server
from test_readme_smalltalk import FIND, LOOK, REACH

from bridge.client import LMStudioNeuroScopeClient
from systems import LIMIT_SECONDS, OldSqueak, answer
from systems.pages import Site, running, shown
from systems.squeak.machine import Squeak

HERE = Path(__file__).parent
BYTES = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def squeak(tmp_path_factory: pytest.TempPathFactory) -> OldSqueak:
    return OldSqueak(Squeak(tmp_path_factory.mktemp("squeak")))


class Target(BaseHTTPRequestHandler):
    """A server that lets pages of all origins read what it answers, but for /refused."""

    asked: list[tuple[str, str]]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path))
        status, content = {"/404": (404, b"none"), "/away": (302, b"")}.get(self.path, (200, BYTES))
        if self.command == "OPTIONS":
            status, content = 200, b""
        if self.path == "/late":
            sleep(2)
        self.send_response(status)
        if self.path != "/refused":
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "Authorization")
            self.send_header("Access-Control-Allow-Methods", "DELETE, PUT")
        if status == 302:
            self.send_header("Location", "/other")
        content = body if self.path == "/echo" else content
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815 - by http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def target() -> Iterator[tuple[type[Target], str]]:
    Target.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Target, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script>
const begin = %s;
const target = '%s', streams = '%s', unused = 'http://127.0.0.1:9';
// As SqueakJS has a ByteArray.
const image = (bytes) => ({ bytes: bytes.length ? bytes : undefined });
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
function take(state) {
  const piece = image(new Uint8Array(state.size));
  state.fill(piece);
  return Array.from(piece.bytes || []);
}
async function whole(method, url, headers = [], body = null, seconds = 20) {
  const state = begin(method, url, headers, body && image(body), seconds, false);
  while (!state.isEnded) await pause();
  const { stage, status, isLate, error } = state;
  return { stage, status, isLate, error, bytes: state.size === null ? null : take(state) };
}
async function events() {
  const state = begin('GET', streams + '/chunked/three', [], null, 20, true), pieces = [];
  for (;;) {
    if (state.size !== null) {
      pieces.push(new TextDecoder().decode(Uint8Array.from(take(state))));
      if (pieces.join('').split('\\n').length > 2) {
        await fetch(streams + '/seen/' + pieces.splice(0));
      }
    } else if (state.isEnded) return state.error;
    await pause();
  }
}
async function stopped() {
  const state = begin('GET', streams + '/closing/endless', [], null, 20, true);
  while (state.size === null) await pause();
  state.stop();
  return (await fetch(streams + '/closed')).text();
}
async function all() {
  const secret = [['Authorization', 'Bearer x']];
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  return {
    bytes: await whole('GET', target + '/bytes'),
    echo: await whole('POST', target + '/echo', [['Content-Type', 'text/plain']], bytes),
    empty: await whole('POST', target + '/echo', [], new Uint8Array(0)),
    gone: await whole('DELETE', target + '/bytes'),
    missing: await whole('GET', target + '/404'),
    late: await whole('GET', target + '/late', [], null, 0.2),
    refused: await whole('GET', target + '/refused'),
    nobody: await whole('GET', unused + '/'),
    redirected: await whole('GET', target + '/away'),
    secret: await whole('GET', target + '/away', secret),
    malformed: await whole('GET', 'http://[', []),
    events: await events(),
    stopped: await stopped(),
    addresses: performance.getEntriesByType('resource').map((each) => each.name),
  };
}
const post = (text) => fetch('/answer', { method: 'POST', body: JSON.stringify({ text }) });
all().then(JSON.stringify, String).then(post);
</script>"""


@pytest.fixture(scope="module")
def page(squeak: OldSqueak, target: tuple[type[Target], str]) -> dict[str, Any]:
    """What the function that is rendered for SqueakJS received in a real page."""
    script = squeak.run("NeuroScopeFetch javaScript")
    assert "!" not in script
    with slow_server() as (kind, streams):
        content = (PAGE % (script, target[1], streams)).encode()

        class PageSite(Site):
            def do_GET(self) -> None:  # noqa: N802 - named by http.server
                self.reply(200, content)

        with running(PageSite) as address, shown(address):
            said = PageSite.answers.get(timeout=LIMIT_SECONDS)
    return {**json.loads(said), "log": kind.log, "streams": streams}


def test_every_byte_arrives_both_ways(page: dict[str, Any]) -> None:
    assert page["bytes"]["bytes"] == list(BYTES)
    assert page["echo"]["bytes"] == list(range(256))
    assert page["empty"]["bytes"] == []


def test_all_methods_and_statuses_go_through(
    page: dict[str, Any], target: tuple[type[Target], str]
) -> None:
    assert (page["gone"]["status"], page["missing"]["status"]) == (200, 404)
    assert bytes(page["missing"]["bytes"]) == b"none"
    assert ("DELETE", "/bytes") in target[0].asked


def test_a_failure_says_at_which_stage_it_was(page: dict[str, Any]) -> None:
    assert page["late"]["isLate"]
    for name in ("refused", "nobody"):
        assert (page[name]["stage"], page[name]["status"]) == ("sent", None)
        assert page[name]["error"] == "Failed to fetch"
    assert page["malformed"]["stage"] == "made"


def test_credentials_are_not_sent_where_a_server_redirects(
    page: dict[str, Any], target: tuple[type[Target], str]
) -> None:
    assert page["redirected"]["status"] == 200
    assert "redirects" in page["secret"]["error"]
    assert target[0].asked.count(("GET", "/other")) == 1


def test_pieces_come_before_the_next_is_sent_and_stop_closes_the_connection(
    page: dict[str, Any],
) -> None:
    assert page["events"] is None
    assert [line.split()[0] for line in page["log"]] == ["sent", "seen"] * 3
    assert page["stopped"] == "yes"


def test_no_second_address_is_ever_asked(
    page: dict[str, Any], target: tuple[type[Target], str]
) -> None:
    ours = (target[1], page["streams"], "http://127.0.0.1:9/")
    assert [each for each in page["addresses"] if not each.startswith(ours)] == []


def test_a_native_image_has_no_javascript(squeak: OldSqueak) -> None:
    chosen, here, said = answer(
        squeak,
        "{NeuroScopePlatform current class name asString. NeuroScopeJavaScript isHere. "
        "[NeuroScopeJavaScript evaluate: '1'] on: Error do: [:error | error messageText]}",
    )
    assert (chosen, here) == ("NeuroScopeSqueakPlatform", False)
    assert said == "JavaScript does not run this image"


def with_javascript(squeak: OldSqueak, received: str, *asked: str) -> Any:
    """What expressions answer in an image whose page receives what the first expression says."""
    expression = (
        f"| c | c := LMStudioConnection baseUrl: 'http://engine.example';; c timeLimit: 7;; "
        f"NeuroScopeJavaScript receive: {received};; {{{'. '.join(asked)}}}"
    )
    system = type("Page", (), {"run": lambda _, code: squeak.run(code, HERE / "javascript.st")})()
    return answer(system, expression)


OK = (
    "{'status' -> 200. 'headers' -> #(('content-type' 'text/plain')). "
    "'pieces' -> (OrderedCollection with: 'one' asByteArray with: 'two' asByteArray)}"
)


def test_the_image_sends_by_the_page_and_reads_what_that_received(squeak: OldSqueak) -> None:
    text, kind, (method, url, headers, _, seconds, streams), pieces = with_javascript(
        squeak,
        OK,
        "(c send: 'POST' to: '/x' body: 1) text",
        "(c send: 'GET' to: '/x') contentType",
        "(NeuroScopeJavaScript asked collect: [:each | (each isKindOf: Collection) | "
        "(each isKindOf: Number) | (each isKindOf: Boolean) ifTrue: [each] ifFalse: [nil]])",
        "[| all | all := OrderedCollection new. NeuroScopePlatform current send: 'GET' to: 'x' "
        "headers: #() body: nil timeout: 7 while: [:piece | all add: piece asString. true]. all] "
        "value",
    )
    assert (text, kind, pieces) == ("one", "text/plain", ["one", "two"])
    assert (method, url, seconds, streams) == ("GET", "http://engine.example/x", 7, False)
    assert headers == [["Accept", "application/json, application/octet-stream"]]


@pytest.mark.parametrize(
    ("received", "words"),
    [
        ("'isLate' -> true", ["no answer from http://engine.example/x in 7 s"]),
        (
            "'stage' -> 'sent'",
            ["no server runs there", "--allow-origin http://page.example", "Failed to fetch"],
        ),
    ],
)
def test_the_image_says_what_a_browser_does_not(
    squeak: OldSqueak, received: str, words: list[str]
) -> None:
    (said,) = with_javascript(
        squeak,
        f"{{{received}. 'error' -> 'Failed to fetch'}}",
        "[c send: 'GET' to: '/x'] on: LMStudioConnectionError do: [:error | error messageText]",
    )
    for word in words:
        assert word in said


if "SQUEAKJS" in os.environ:
    from systems.squeakjs import SqueakJs

    @pytest.fixture(scope="module")
    def squeakjs() -> SqueakJs:
        return SqueakJs(Path(os.environ["SQUEAKJS"]))

    @pytest.mark.parametrize("example", [LOOK, FIND, REACH])
    def test_the_readme_answers_in_a_page_what_it_answers_natively(
        squeakjs: SqueakJs, squeak: OldSqueak, engine: LMStudioNeuroScopeClient, example: str
    ) -> None:
        here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
        *statements, last = example.replace("LMStudioRESTClient default", here).rsplit(".\n", 1)
        expression = f"{'. '.join(statements)}. ({last.strip()}) printString"
        assert squeakjs.run(expression) == squeak.run(expression)

    def test_a_page_streams_and_closes(squeakjs: SqueakJs) -> None:
        with slow_server() as (kind, base):
            found = answer(
                squeakjs,
                f"| c all | c := LMStudioConnection baseUrl: '{base}';; "
                "all := OrderedCollection new;; "
                "c events: [:each | each send: 'GET' to: '/chunked/three'] do: [:event | "
                "all add: (event at: 'data'). c send: 'GET' to: '/seen/it'];; "
                "c events: [:each | each send: 'GET' to: '/closing/endless'] "
                "while: [:event | false];; all add: (c send: 'GET' to: '/closed') text;; all",
            )
        assert found == [*(f"{word} \u00e9" for word in ("one", "two", "three")), "yes"]
        assert [line.split()[0] for line in kind.log] == ["sent", "seen"] * 3
