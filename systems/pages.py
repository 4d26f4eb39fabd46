"""Pages in a real browser, which post what they have to say to the site that serves them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Thread


class Site(SimpleHTTPRequestHandler):
    """Serves files, and takes the answers that pages post to /answer as JSON with a `text`."""

    answers: Queue[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answers.put(json.loads(body)["text"])
        self.reply(204, b"")

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(kind: type[Site]) -> Iterator[str]:
    """The address of a site, whose `answers` begin empty."""
    kind.answers = Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def shown(page: str, downloads: Path | None = None) -> Iterator[None]:
    """Show a page in Chromium; what it downloads goes to a folder, if one is named."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        if downloads:
            settings = {"download": {"default_directory": str(downloads)}}
            Path(profile, "Default").mkdir()
            Path(profile, "Default", "Preferences").write_text(json.dumps(settings))
        options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
        browser = subprocess.Popen(
            ["chromium", *options, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            browser.terminate()
            browser.wait()
