"""Only those who may talk to the server are heard."""

import socket

import pytest

from bridge.client import LMStudioNeuroScopeClient
from engine.contract.operations import OPERATIONS
from engine.server.http.guard import is_loopback
from tests.engine.server.conftest import running

PAGE = "http://localhost:8080"


@pytest.fixture(scope="module")
def locked(tiny_model):
    with running(
        tiny_model,
        token="s3cret",
        allowed_hosts=("models.example",),
        allowed_origins=("https://page.example",),
    ) as server:
        yield server


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost.evil"]
)
def test_a_foreign_host_is_refused(server, host):
    answer = server.http.get("/v1/models", headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "error" in answer.json()


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:50111"])
def test_this_machines_names_are_its_hosts(server, host):
    assert server.http.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example"])
def test_a_foreign_page_is_refused(server, origin):
    answer = server.http.get("/v1/models", headers={"Origin": origin})
    assert answer.json()["error"]["code"] == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", [PAGE, "http://127.0.0.1:3000", "https://localhost"])
def test_a_page_of_this_machine_may_read_answers_and_errors(server, origin):
    for path, status in (("/v1/models", 200), ("/v1/activations/none", 404)):
        answer = server.http.get(path, headers={"Origin": origin})
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_preflight_allows_what_the_api_needs(server, method):
    answer = server.http.options(
        "/v1/activations/hooks",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert answer.status_code == 204
    assert "Content-Type" not in answer.headers
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "content-type"} <= set(
        answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    )
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


def test_a_preflight_of_a_foreign_page_is_refused(server):
    answer = server.http.options("/v1/forward", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_named_hosts_and_origins_are_let_in(locked):
    headers = {"Authorization": "Bearer s3cret", "Host": "models.example"}
    assert locked.http.get("/health", headers=headers).status_code == 200
    headers = {"Authorization": "Bearer s3cret", "Origin": "https://page.example"}
    assert locked.http.get("/health", headers=headers).status_code == 200


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "s3cret", "Basic s3cret"])
def test_every_route_requires_the_token(locked, given):
    headers = {"Authorization": given} if given else {}
    for operation in OPERATIONS:
        path = operation.path.replace("{", "").replace("}", "")
        answer = locked.http.request(operation.method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "s3cret" not in answer.text


def test_a_preflight_needs_no_token(locked):
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    assert locked.http.options("/v1/forward", headers=headers).status_code == 204


def test_a_link_out_of_an_allowed_folder_leads_nowhere(server, tiny_model, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tiny_model.parent / "link"
    link.symlink_to(outside)
    try:
        for path in (link, tiny_model.parent / ".." / "etc", tiny_model.parent / "link" / "x"):
            error = server.error("/v1/models/load", 403, model_path=str(path))
            assert str(tiny_model.parent) in error["message"]
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("name", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("a", False)],
)
def test_loopback_is_known(name, loopback):
    assert is_loopback(name) is loopback


TOKEN = "gehéim-🎉-à"


@pytest.fixture(scope="module")
def accented(tiny_model):
    with running(tiny_model, token=TOKEN) as server:
        yield server


def test_a_token_beyond_ascii_lets_in(accented):
    for given, status in [
        (TOKEN.encode(), 200),
        (TOKEN[:-1].encode(), 401),
        (TOKEN.encode()[:-1], 401),
        (TOKEN.encode("latin-1", "replace"), 401),
    ]:
        headers = {"Authorization": b"Bearer " + given}
        assert accented.http.get("/v1/models", headers=headers).status_code == status
    with LMStudioNeuroScopeClient(accented.listener.url, token=TOKEN) as client:
        assert client.list_models()["data"][0]["id"] == "tiny"


def test_a_token_may_come_in_latin_1_as_http_once_had_it(tiny_model):
    with running(tiny_model, token="gehéim-à") as server:
        for encoding in ("utf-8", "latin-1"):
            headers = {"Authorization": b"Bearer " + "gehéim-à".encode(encoding)}
            assert server.http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["//v1/models", "///health", "//health?a=1", "/%2Fv1/models", "http://localhost//health"],
)
def test_a_path_that_begins_with_more_slashes_is_another(server, path):
    with socket.create_connection(server.listener.socket.getsockname(), timeout=20) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"code":404' in answer


def test_errors_do_not_tell_where_the_folders_of_the_server_are(tiny_model, tmp_path, monkeypatch):
    root = tmp_path / "secret-root"
    broken = root / "broken"
    broken.mkdir(parents=True)
    (root / "empty").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((tiny_model / name).read_bytes())
    (broken / "model.safetensors").write_bytes(b"no weights")
    (root / "link").symlink_to(broken)
    monkeypatch.chdir(root)
    with running(tiny_model, model_roots=(root, tiny_model.parent)) as server:
        for path in ("broken", "empty", "link", "nothing", "../elsewhere", "/etc"):
            response = server.http.post("/v1/models/load", json={"model_path": path})
            assert response.status_code in (403, 404, 422)
            assert "secret-root" not in response.text
            assert path.removeprefix("../").removeprefix("/") in response.text
        asked = {"model_path": str(tiny_model), "dtype": "float16"}
        response = server.http.post("/v1/models/load", json=asked)
        assert response.status_code == 422
        assert str(tiny_model.parent) not in response.text
