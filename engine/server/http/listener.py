"""Waitress, made patient with nobody: clients that stop reading or sending are cut off, and what
it refuses before the application sees it gets the contract's error body."""

import time
from typing import Any
from wsgiref.types import WSGIApplication

from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error as WaitressError

from engine.contract.schemas import ErrorDetail, ErrorResponse
from engine.server.state.settings import Settings

SPARE_THREADS = 16
"""Threads beyond those that may wait for the generation thread, for what needs none of its time."""
ACCEPTED_AT_ONCE = 64
"""Connections that are accepted before those that are there are looked at again."""
STATUS = ("/health", "/metrics")
"""Paths that say how the server is."""
DRAINED = 4
"""A body up to this many times the limit is read to its end, so that its client sees the 413."""
OUTPUT_BUFFER = 16 << 20
CHECKS = 6
"""How often a client is looked at within the time that it may be stuck."""


class ExactPathTask(WSGITask):
    """Passes a path on as it was sent; waitress would drop slashes at its beginning."""

    def get_environment(self) -> dict[str, Any]:
        return super().get_environment() | {"PATH_INFO": self.request.path}


class JsonErrorTask(ErrorTask):
    """Replies to a request that is not HTTP, or is far too large."""

    def execute(self) -> None:
        error: WaitressError = self.request.error
        kind = error.reason.lower().replace(" ", "_")
        detail = ErrorDetail(message=error.body, type=kind, code=error.code)
        body = ErrorResponse(error=detail).model_dump_json().encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    """A client's connection, which knows since when its current request has been arriving."""

    task_class = ExactPathTask
    error_task_class = JsonErrorTask
    arriving_since: float | None = None

    @property
    def idle_since(self) -> float | None:
        """Since when nothing came of this connection; None while a request of it is served."""
        if self.requests or self.total_outbufs_len:
            return None
        return self.arriving_since or self.last_activity

    def received(self, data: bytes) -> bool:
        kept = super().received(data)
        if self.request is None:
            self.arriving_since = None
        elif self.arriving_since is None:
            self.arriving_since = time.time()
        return kept


class Listener(TcpWSGIServer):
    """The bound, listening server."""

    channel_class = Channel

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self._patience = settings.client_patience
        self._most_connections = settings.connections
        super().__init__(
            app,
            host=settings.host,
            port=settings.port,
            threads=settings.queue_size + SPARE_THREADS,
            connection_limit=settings.connections * 2,  # ours comes before
            max_request_body_size=settings.max_body_bytes * DRAINED,
            channel_request_lookahead=1,  # notices that a client has gone while it is served
            channel_timeout=int(settings.client_patience),
            cleanup_interval=max(1, int(settings.client_patience / CHECKS)),
            outbuf_overflow=OUTPUT_BUFFER * 2,  # never a temporary file
            outbuf_high_watermark=OUTPUT_BUFFER,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            ident="neuroscope",
        )
        self._status_dispatcher = ThreadedTaskDispatcher()
        self._status_dispatcher.set_thread_count(1)

    @property
    def url(self) -> str:
        host = f"[{self.effective_host}]" if ":" in self.effective_host else self.effective_host
        return f"http://{host}:{self.effective_port}"

    def add_task(self, task: Channel) -> None:
        """Have a request served: what asks how the server is, by a thread that nothing else
        uses."""
        path = getattr(task.requests[0], "path", None)
        (self._status_dispatcher if path in STATUS else self.task_dispatcher).add_task(task)

    def readable(self) -> bool:
        """Whether a connection may be accepted: where there are as many as may be, one that is
        idle has to make room."""
        is_room = len(self.active_channels) < self._most_connections
        return bool(super().readable() and (is_room or self._idlest()))

    def handle_accept(self) -> None:
        """Accept the connections that wait, and if they are too many now, close those that have
        been idle, or sending their request, for the longest time.

        Not before: a new connection would get the number of a closed one, of which there may be
        events yet to be handled.
        """
        for _ in range(ACCEPTED_AT_ONCE):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                break
        while len(self.active_channels) > self._most_connections and (idlest := self._idlest()):
            idlest.handle_close()

    def _idlest(self) -> Channel | None:
        waits = [(each.idle_since, each) for each in list(self.active_channels.values())]
        idle = [(since, each) for since, each in waits if since is not None]
        return min(idle, key=lambda pair: pair[0])[1] if idle else None

    def shutdown(self) -> None:
        """End the threads that serve requests."""
        self.task_dispatcher.shutdown()
        self._status_dispatcher.shutdown()

    def maintenance(self, now: float) -> None:
        """Close idle connections, and those that are stuck in the middle of a request.

        A stuck client's socket never becomes writable, so its channel is closed here and now.
        """
        super().maintenance(now)
        cutoff = now - self._patience
        for channel in list(self.active_channels.values()):
            unread = channel.total_outbufs_len and channel.last_activity < cutoff
            unsent = channel.arriving_since is not None and channel.arriving_since < cutoff
            if unread or unsent:
                channel.handle_close()
