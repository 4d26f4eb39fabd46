"""The page's files: who may read them, as what, and nothing else."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.server.http.page_files import FOLDER
from tests.engine.server.conftest import Server, running

AS_A_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
FILES = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]


@pytest.fixture(scope="module")
def locked(tiny_model: Path) -> Iterator[Server]:
    with running(tiny_model, token="s3cret") as server:
        yield server


def test_a_browser_gets_the_page_and_everybody_else_is_told_what_is_where(locked: Server) -> None:
    page = locked.http.get("/", headers=AS_A_BROWSER)
    assert page.content == (FOLDER / "index.html").read_bytes()
    for accept in ("*/*", "application/json"):
        told = locked.http.get("/", headers={"Accept": accept})
        assert told.headers["Content-Type"] == "application/json"
        assert told.json()["version"] == "test"
        assert told.json()["api"] == "/openapi.json"
        assert "tiny" not in told.text
    assert "Accept" in told.headers["Vary"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_has_its_type_and_is_kept_only_as_long_as_it_is_current(
    path: Path, locked: Server
) -> None:
    name = f"/page/{path.relative_to(FOLDER).as_posix()}"
    first = locked.http.get(name)
    assert first.content == path.read_bytes()
    assert first.headers["Content-Type"].split(";")[0] == TYPES[path.suffix]
    assert first.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert first.headers["Cache-Control"] == "no-cache"
    again = locked.http.get(name, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/smalltalk/", "/page", "/pages/dom.js"])
def test_all_else_needs_the_token(path: str, locked: Server) -> None:
    assert locked.http.get(path).status_code == 401
    assert locked.http.post("/", json={}).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/../http/app.py",
        "/page/%2e%2e/http/app.py",
        "/page/snippets/../../http/app.py",
        "/page//etc/passwd",
        "/page/snippets",
    ],
)
def test_nothing_beside_the_files_is_read(path: str, server: Server) -> None:
    address = server.listener.socket.getsockname()
    with socket.create_connection(address, timeout=20) as connection:  # httpx would tidy the path
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        reply = b""
        while part := connection.recv(65536):
            reply += part
    assert reply.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://192.168.1.5:50111", 200),
        ("http://192.168.1.5", 403),
        ("https://192.168.1.5:50111", 403),
        ("http://192.168.1.6:50111", 403),
    ],
)
def test_the_servers_own_page_may_ask_under_any_address_and_no_other_page(
    origin: str, status: int, server: Server
) -> None:
    headers = {"Host": "192.168.1.5:50111", "Origin": origin}
    reply: httpx.Response = server.http.post("/v1/tokenize", json={"text": "a"}, headers=headers)
    assert reply.status_code == status
