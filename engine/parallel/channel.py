"""How the first rank tells the others what to do: one connection to each, beside MLX's own.

What ranks calculate together goes by `mlx.distributed`; which request comes, whose turn it is and
whether a client has gone are small messages, which need no pass of a model. A connection that ends
says at once that its rank has ended.
"""

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from threading import Lock, Thread
from typing import Any

import mlx.core as mx
import numpy as np

from engine.parallel.ranks import Ranks

LOCAL = "127.0.0.1"
KEY_BYTES = 16


class Lead:
    """The first rank's end: `tell` says something to all others, in one order."""

    def __init__(self, connections: list[Connection]):
        self._connections = connections
        self._lock = Lock()

    def tell(self, *message: Any) -> None:
        """A rank that is gone gets nothing; `watch` tells of it."""
        data = json.dumps(message).encode()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.send_bytes(data)

    def watch(self, ended: Callable[[int], None]) -> None:
        """Have `ended` called with the number of a rank that ends."""

        def wait(rank: int, connection: Connection) -> None:
            try:
                connection.recv_bytes()
            except (EOFError, OSError):
                ended(rank)

        for rank, connection in enumerate(self._connections, 1):
            Thread(target=wait, args=(rank, connection), name="watch", daemon=True).start()


class Followed:
    """Another rank's end: what the first one says, message by message."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def hear(self) -> list[Any]:
        """The next message. Raises EOFError once the first rank has ended."""
        try:
            message: list[Any] = json.loads(self._connection.recv_bytes())
        except OSError as error:
            raise EOFError from error
        return message


def connected(ranks: Ranks) -> Lead | Followed:
    """This rank's end of the connections. All ranks have to call it at the same point."""
    if ranks.rank == 0:
        key = secrets.token_bytes(KEY_BYTES)
        host = _own_address()
        with Listener((host, 0), authkey=key) as listener:
            _shared(ranks, [*map(int, host.split(".")), listener.address[1], *key])
            return Lead([listener.accept() for _ in range(ranks.size - 1)])
    *address, port = (told := _shared(ranks, None))[:5]
    return Followed(Client((".".join(map(str, address)), port), authkey=bytes(told[5:])))


def _shared(ranks: Ranks, told: list[int] | None) -> list[int]:
    """What the first rank tells all others, who have None to tell."""
    own = mx.array(told or [0] * (5 + KEY_BYTES), dtype=mx.int32)
    total = mx.distributed.all_sum(own, group=ranks.group)
    return [int(np.array(each)) for each in total]


def _own_address() -> str:
    """The IPv4 address by which the others reach this rank, as `mlx.launch` wrote it down."""
    if file := os.environ.get("MLX_HOSTFILE"):
        with open(file, encoding="utf-8") as hosts:
            first = json.load(hosts)[0]
        return str(first[0] if isinstance(first, list) else first).rpartition(":")[0] or LOCAL
    coordinator = os.environ.get("MLX_JACCL_COORDINATOR", "").rpartition(":")[0]
    return os.environ.get("NCCL_HOST_IP") or coordinator or LOCAL
