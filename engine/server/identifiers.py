"""Ids of what requests make: by chance, or, where ranks repeat a request, alike on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from uuid import uuid4

from engine.turns import agreed

_source: ContextVar[Iterator[str] | None] = ContextVar("identifiers", default=None)
BYTES = 16


def new_id() -> str:
    """An id that nothing else has, of 32 hexadecimal digits, in a job alike on all ranks."""
    source = _source.get()
    return agreed("id", uuid4().hex) if source is None else next(source)


@contextmanager
def identified_by(secret: str, number: int) -> Iterator[None]:
    """Have the ids that a request's thread makes follow from a secret of all ranks."""
    token = _source.set(_ids(secret, number))
    try:
        yield
    finally:
        _source.reset(token)


def _ids(secret: str, number: int) -> Iterator[str]:
    place = 0
    while True:
        told = f"{number} {place}".encode()
        yield blake2b(told, key=secret.encode(), digest_size=BYTES).hexdigest()
        place += 1
