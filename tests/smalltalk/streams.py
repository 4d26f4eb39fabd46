"""A server that sends events slowly: the next one when it hears that the last one was seen."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Event, Thread
from time import monotonic, sleep

PATIENCE = 10  # seconds that the server waits for what a client should do at once


class Streams(BaseHTTPRequestHandler):
    """Its paths say how the end of a response is told: by closing, in chunks, by a length.

    `log` is what was sent and what clients said that they saw; `closed` is set when a client has
    closed a connection on which there would have been more.
    """

    protocol_version = "HTTP/1.1"
    log: list[str]
    seen: Queue[str]
    closed: Event

    def do_GET(self) -> None:
        kind, _, what = self.path.lstrip("/").partition("/")
        if kind == "seen":
            self.log.append(f"seen {what}")
            self.seen.put(what)
            self.sized(b"ok")
        elif kind == "closed":
            self.sized(b"yes" if self.closed.wait(PATIENCE / 2) else b"no")
        elif kind == "file":
            self.sized(b"whole")
        elif kind == "none":
            self.sized(b"", 404)
        elif kind == "stays":
            self.sized(b"whole")
            sleep(PATIENCE)
        else:
            self.stream(kind, what)

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.allow()
        self.end_headers()

    def stream(self, kind: str, what: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.allow()
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        with suppress(OSError):
            self.events(kind, what)

    def events(self, kind: str, what: str) -> None:
        """Three events, each when the one before was seen; or without an end."""
        if what == "endless":
            end = monotonic() + PATIENCE
            while monotonic() < end:
                try:
                    self.send(kind, b"data: more\n\n")
                except OSError:
                    self.closed.set()
                    raise
                sleep(0.01)
            return
        for word in ("one", "two", "three"):
            self.log.append(f"sent {word}")
            self.send(kind, f"data: {word} \u00e9\r\n\r".encode()[:-5])
            self.send(kind, f"data: {word} \u00e9\r\n\r".encode()[-5:])
            self.send(kind, b"\n")
            with suppress(Empty):
                self.seen.get(timeout=PATIENCE)
        if kind == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def send(self, kind: str, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if kind == "chunked" else data)
        self.wfile.flush()

    def sized(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.allow()
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def allow(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "X-Session-Id")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def slow_server() -> Iterator[tuple[type[Streams], str]]:
    """A running server's handler and its address."""
    kind = type("Streams", (Streams,), {"log": [], "seen": Queue(), "closed": Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
