"""A Hugging Face hub of one's own: the routes that its library asks, over files on this machine."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

COMMIT = "1" * 40


@contextmanager
def hub(
    repositories: dict[str, Path],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: threading.Event | None = None,
) -> Iterator[None]:
    """Serve these folders by their hub ids, and have the library ask here and keep its files in
    `cache`. Of each weights file the second half is sent once the `gate` is open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._file(with_body=False)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if "/resolve/" in path:
                return self._file(with_body=True)
            for name, folder in repositories.items():
                if path == f"/api/models/{name}/revision/main":
                    return self._json({"id": name, "sha": COMMIT, "siblings": []})
                if path.startswith(f"/api/models/{name}/tree/"):
                    return self._json([self._entry(each) for each in sorted(folder.iterdir())])
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

        def _entry(self, file: Path) -> dict[str, object]:
            size, digest = file.stat().st_size, hashlib.sha1(file.read_bytes()).hexdigest()
            return {"type": "file", "path": file.name, "size": size, "oid": digest}

        def _json(self, body: object, status: int = 200, headers: dict | None = None) -> None:
            self._send(json.dumps(body).encode(), status, headers or {})

        def _file(self, with_body: bool) -> None:
            name, _, rest = urlsplit(self.path).path.strip("/").partition("/resolve/")
            file = repositories[name] / rest.partition("/")[2]
            data = file.read_bytes()
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(data, 200, headers, with_body=with_body)

        def _send(
            self, data: bytes, status: int, headers: dict[str, str], with_body: bool = True
        ) -> None:
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(header, value)
            self.end_headers()
            if not with_body:
                return
            half = len(data) // 2
            self.wfile.write(data[:half])
            self.wfile.flush()
            if gate and self.path.endswith(".safetensors"):
                gate.wait(30)
            self.wfile.write(data[half:])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        yield
        server.shutdown()
