"""A proxy before an engine that counts the requests of an image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx

TIMEOUT_SECONDS = 300


@dataclass
class CountedEngine:
    """Where the proxy is, and the method and path of each request so far."""

    base_url: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def counted(base_url: str) -> Iterator[CountedEngine]:
    """Pass all requests on to the engine at `base_url`."""

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self.pass_on
            raise AttributeError(name)

        def pass_on(self) -> None:
            engine.requests.append(f"{self.command} {self.path}")
            reply = httpx.request(
                self.command,
                f"{base_url}{self.path}",
                content=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                headers={"Content-Type": self.headers.get("Content-Type", "application/json")},
                timeout=TIMEOUT_SECONDS,
            )
            self.send_response(reply.status_code)
            self.send_header("Content-Type", reply.headers["Content-Type"])
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        engine = CountedEngine(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield engine
        server.shutdown()
        thread.join()
