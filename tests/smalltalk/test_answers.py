"""What a client makes of responses: values by their media type, errors, redirections, pages."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from foreign import document, generate_into, operation, written
from test_foreign_api import image_names, system_with

from systems import System, answer

JSON = {"Content-Type": "application/json"}
PEOPLE = ["Ada", "Blaise", "Charles", "Dana", "Emmy"]
EVENTS = ": hi\r\nevent: token\r\ndata: one\r\ndata: two\r\nid: 7\r\n\r\ndata:three\n\ndata: last"


class Server(BaseHTTPRequestHandler):
    """Answers what the path says, and remembers what it was asked."""

    asked: list[tuple[str, str, str | None, str | None, bytes]]
    other: str

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        secrets = (self.headers.get("Authorization"), self.headers.get("X-Key"))
        self.asked.append((self.command, self.path, *secrets, body))
        status, headers, content = self.content(path.rsplit("/", 1)[-1], query)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def content(self, name: str, query: str) -> tuple[int, dict[str, str], bytes]:
        if name in ("301", "302", "303", "307", "308"):
            return int(name), {"Location": "../v1/seen?x=1#part"}, b""
        if name == "people":
            page = int(query.partition("=")[2] or 1)
            more = page * 2 < len(PEOPLE)
            link = f'<http://x/first>; rel="first", <?page={page + 1}>; title="a, b"; rel="next"'
            found = PEOPLE[page * 2 - 2 : page * 2]
            body: Any = found if "list" in self.path else {"people": found}
            return 200, {**JSON, **({"Link": link} if more else {})}, json.dumps(body).encode()
        return {
            "nothing": (204, {}, b""),
            "empty": (200, JSON, b""),
            "text": (200, {"Content-Type": "text/plain; charset=utf-8"}, "Grüße".encode()),
            "latin": (200, {"Content-Type": "text/plain; charset=ISO-8859-1"}, b"Gr\xfc\xdfe"),
            "bytes": (200, {"Content-Type": "image/png"}, bytes(range(256))),
            "any": (200, {"Content-Type": "application/hal+json"}, b'{"a": [1]}'),
            "seen": (200, {**JSON, "X-Rest": "9"}, b'{"seen": true}'),
            "events": (200, {"Content-Type": "text/event-stream"}, EVENTS.encode()),
            "html": (502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"),
            "blob": (500, {"Content-Type": "application/octet-stream"}, b"\xff\xfe\x00"),
            "problem": (
                404,
                {"Content-Type": "application/problem+json"},
                b'{"title": "No pet", "detail": "There is no pet 7.", "status": 404}',
            ),
            "busy": (429, {**JSON, "Retry-After": "17"}, b'{"error": "slow down"}'),
            "later": (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, b""),
            "loop": (302, {"Location": "loop"}, b""),
            "away": (307, {"Location": f"{self.other}/v1/seen"}, b""),
        }[name]

    do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815 - named by http.server

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The server's own time."""
        return "Wed, 21 Oct 2026 07:28:00 GMT"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[type[Server], str]]:
    """A running server, whose redirections lead to another of the same kind."""
    asked: list[Any] = []
    running = []
    other = ""
    for _ in range(2):
        kind = type("Server", (Server,), {"asked": asked, "other": other})
        running.append(ThreadingHTTPServer(("127.0.0.1", 0), kind))
        Thread(target=running[-1].serve_forever, daemon=True).start()
        other = f"http://127.0.0.1:{running[-1].server_port}"
    yield kind, f"{other}/v1"
    for server in running:
        server.shutdown()


def returns(*types: str) -> dict[str, Any]:
    return {"responses": {"200": {"description": "ok", "content": {t: {} for t in types}}}}


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with a client of the server filed in."""
    kinds = {
        "text": returns("text/plain"),
        "latin": returns("text/plain"),
        "bytes": returns("image/png"),
        "any": returns("text/plain", "application/json"),
        "events": returns("text/event-stream"),
        "nothing": {"responses": {"204": {"description": "gone"}}},
    }
    names = [*kinds, "empty", "seen", "html", "blob", "problem", "busy", "later", "loop", "away"]
    names += ["people", "list/people"]
    paths: dict[str, Any] = {
        f"/{name}": {"get": operation(operationId=f"get {name}", **kinds.get(name, {}))}
        for name in names
    }
    body = {"content": {"application/json": {"schema": {}}}, "required": True}
    for status in (301, 302, 303, 307, 308):
        for verb in ("post", "put"):
            entry = operation(operationId=f"{verb} {status}", requestBody=body)
            paths.setdefault(f"/{status}", {})[verb] = entry
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}
    content = document(paths, components={"securitySchemes": schemes}, security=[{"key": []}, {}])
    folder = tmp_path_factory.mktemp("answers")
    generate_into(folder, written(folder, content), request.param)
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def ask(image: System, base: str, *expressions: str) -> Any:
    """What a client `c` answers to each of some expressions."""
    listed = ". ".join(expressions)
    return answer(
        image,
        f"| c | c := PetStoreClient baseUrl: '{base}';; c token: 'secret';; c key: 'k';; "
        f"{{{listed}}}",
        "PetStorePlatform",
    )


def failing(expression: str, said: str) -> str:
    """What is said of the error of an expression."""
    return f"([{expression}. 'no error'] on: PetStoreError do: [:e | {said}])"


def test_a_value_is_what_the_media_type_says(
    image: System, servers: tuple[type[Server], str]
) -> None:
    nothing, empty, text, latin, size, last, found = ask(
        image,
        servers[1],
        "c getNothing",
        "c getEmpty",
        "c getText",
        "c getLatin",
        "c getBytes size",
        "c getBytes at: 256",
        "c getAny at: 'a'",
    )
    assert nothing is None
    assert empty is None
    assert text == latin == "Grüße"
    assert (size, last, found) == (256, 255, [1])


def test_status_and_headers_can_be_asked_for(
    image: System, servers: tuple[type[Server], str]
) -> None:
    status, header, none, value, count, said = ask(
        image,
        servers[1],
        "(c returning: #response) getNothing status",
        "(c returning: #response) getSeen headerAt: 'x-rest'",
        "(c returning: #response) getSeen headerAt: 'x-none'",
        "(c returning: #response) getSeen value at: 'seen'",
        "c getSeen size",
        "([c returning: #headers. ''] on: Error do: [:e | e messageText])",
    )
    assert (status, header, none, value, count) == (204, "9", None, True, 1)
    assert "there are: response value" in said


def test_an_error_keeps_class_status_and_body(
    image: System, servers: tuple[type[Server], str]
) -> None:
    html, blob, problem, status = ask(
        image,
        servers[1],
        failing("c getHtml", "{e class name. e status. e body. e messageText}"),
        failing("c getBlob", "{e class name. e status. e body size. e messageText}"),
        failing("c getProblem", "{e class name. e status. e body at: 'title'. e messageText}"),
        failing("(c returning: #response) getHtml", "e response status"),
    )
    assert html[:3] == ["PetStoreServerError", 502, "<h1>Bad gateway</h1>"]
    assert html[3] == "HTTP 502: <h1>Bad gateway</h1>"
    assert blob == ["PetStoreServerError", 500, 3, "HTTP 500: 3 bytes of application/octet-stream"]
    assert problem == ["PetStoreNotFoundError", 404, "No pet", "There is no pet 7."]
    assert status == 502


def test_a_limit_of_requests_says_how_long_to_wait(
    image: System, servers: tuple[type[Server], str]
) -> None:
    busy, later, none = ask(
        image,
        servers[1],
        failing("c getBusy", "{e class name. e retryAfter. e messageText}"),
        failing("c getLater", "e retryAfter"),
        failing("c getHtml", "e retryAfter"),
    )
    assert busy == ["PetStoreRateLimitError", 17, "slow down"]
    assert later == 30
    assert none is None


def test_redirections_keep_the_method_as_http_says(
    image: System, servers: tuple[type[Server], str]
) -> None:
    server, base = servers
    server.asked.clear()
    calls = [
        f"c {verb}{status}: #(1)"
        for verb in ("post", "put")
        for status in (301, 302, 303, 307, 308)
    ]
    seen = ask(image, base, *calls)
    assert seen == [{"seen": True}] * 10
    followed = [(verb, key, body) for verb, path, _, key, body in server.asked if "seen" in path]
    get, post, put = ("GET", "k", b""), ("POST", "k", b"[1]"), ("PUT", "k", b"[1]")
    assert followed == [get, get, get, post, post, put, put, get, put, put]
    assert {path for _, path, *_ in server.asked if "seen" in path} == {"/v1/seen?x=1"}


def test_redirections_end_and_take_no_credentials_to_another_host(
    image: System, servers: tuple[type[Server], str]
) -> None:
    server, base = servers
    server.asked.clear()
    loop, away, none = ask(
        image,
        base,
        failing("c getLoop", "{e class name. e status}"),
        "(c returning: #response) getAway call url",
        failing("c redirectLimit: 0. c getAway", "e response headerAt: 'Location'"),
    )
    assert loop == ["PetStoreRedirectionError", 302]
    asked = [(path, key) for _, path, _, key, _ in server.asked]
    assert asked.count(("/v1/loop", "k")) == 6
    assert ("/v1/seen", None) in asked
    assert ("/v1/seen", "k") not in asked
    assert not away.startswith(base)
    assert none == away


def test_pages_are_a_lazy_stream(image: System, servers: tuple[type[Server], str]) -> None:
    server, base = servers
    server.asked.clear()
    first = ask(image, base, "(c pagesOf: [:each | each getListPeople]) next: 2")
    assert first == [["Ada", "Blaise"]]
    assert len(server.asked) == 1
    everyone, named, end, said = ask(
        image,
        base,
        "(c pagesOf: [:each | each getListPeople]) upToEnd",
        "(c pagesOf: [:each | each getPeople] field: 'people') upToEnd",
        "(c pagesOf: [:each | each getNothing]) next",
        "([(c pagesOf: [:each | each getPeople]) next] on: Error do: [:e | e messageText])",
    )
    assert everyone == named == PEOPLE
    assert end is None
    assert "pagesOf:field:" in said
    assert {key for _, _, _, key, _ in server.asked} == {"k"}


def test_server_sent_events_come_one_by_one(
    image: System, servers: tuple[type[Server], str]
) -> None:
    found = answer(
        image,
        f"| c all | c := PetStoreClient baseUrl: '{servers[1]}';; all := OrderedCollection new;; "
        "c events: [:each | each getEvents] do: [:each | all add: each];; all",
        "PetStorePlatform",
    )
    assert [(e["event"], e["data"], e["id"]) for e in found] == [
        ("token", "one\ntwo", "7"),
        ("message", "three", "7"),
        ("message", "last", "7"),
    ]
