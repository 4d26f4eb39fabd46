"""Captures in files: each one safetensors file, which nobody else can read, written whole or not
at all, and read by plain reads that check what they find. No file stays open."""

import fcntl
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from engine.captures.records import Activations, CapturedActivation
from engine.captures.sparse import type_of_fields
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.server.errors import UnknownCaptureError
from engine.server.wire.records import STORED, record_json
from engine.server.wire.safetensors_body import CHUNK, Place, body, header, part_name, tensors

log = logging.getLogger(__name__)
FILE = re.compile(r"(cap-[0-9a-f]{32})\.safetensors")
UNFINISHED = re.compile(r"cap-[0-9a-f]{32}\.part")
LONGEST_HEADER = 1 << 30


class DamagedError(Exception):
    """A file that does not contain what was written into it; says what is wrong."""


@dataclass(frozen=True)
class SpilledCapture:
    """A capture in a file of `file_bytes`, of which every read reads only what is asked for."""

    capture_id: str
    model: str
    created: float
    nbytes: int
    file: Path
    file_bytes: int

    @property
    def activations(self) -> Activations:
        activations: Activations = {}
        with self._opened() as contents:
            for entry in contents.entries:
                activations.setdefault(entry.hook, []).append(contents.record(entry))
        return activations

    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """What the capture contains, by hook, without the data."""
        manifest: dict[str, list[dict[str, Any]]] = {}
        with self._opened() as contents:
            for entry in contents.entries:
                manifest.setdefault(entry.hook, []).append(entry.manifest)
        return manifest

    def records(
        self, hook_id: str | None = None, step: int | None = None
    ) -> Iterator[CapturedActivation]:
        """The records of a hook, of a step, or all. Raises UnknownCaptureError."""
        with self._opened() as contents:
            for entry in contents.entries:
                if entry.is_of(hook_id, step):
                    yield contents.record(entry)

    def body(
        self, hook_id: str | None = None, step: int | None = None
    ) -> tuple[int, Iterator[bytes | memoryview]]:
        """The size of a safetensors body of these records, and its pieces as they are read."""
        with self._opened() as contents:
            chosen = [entry for entry in contents.entries if entry.is_of(hook_id, step)]
        metadata = {"capture_id": self.capture_id, "model": self.model}
        head = header([place for entry in chosen for place in entry.places], metadata)
        return len(head) + sum(entry.nbytes for entry in chosen), self._pieces(head, chosen)

    def _pieces(self, head: bytes, entries: list["_Entry"]) -> Iterator[bytes | memoryview]:
        yield head
        with self._opened() as contents:
            for entry in entries:
                yield from contents.pieces(entry)

    @contextmanager
    def _opened(self) -> Iterator["_Contents"]:
        try:
            with _contents(self.file) as contents:
                yield contents
        except (OSError, DamagedError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UnknownCaptureError(
                f"The capture {self.capture_id!r} was moved to a file, which cannot be read: "
                f"{reason}.",
                "capture_id",
            ) from error


class SpillFolder:
    """A folder of captures of at most `budget_bytes` in all, which belongs to one process.

    Captures that an earlier process left there are found again; what it left unfinished or
    damaged is removed. Raises InvalidRequestError if another process uses the folder.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _claim(folder)

    def found(self) -> list[SpilledCapture]:
        """The captures that an earlier process left, oldest first."""
        captures = []
        for file in sorted(self._folder.iterdir()):
            if UNFINISHED.fullmatch(file.name):
                file.unlink()
            elif named := FILE.fullmatch(file.name):
                try:
                    captures.append(_described(file, named[1]))
                except (OSError, DamagedError) as error:
                    log.warning("removed %s, which cannot be read: %s", file.name, error)
                    file.unlink()
        return sorted(captures, key=lambda capture: capture.created)

    def write(
        self,
        capture_id: str,
        model: str,
        created: float,
        activations: Activations,
    ) -> SpilledCapture:
        """Write a capture beside its place and then put it there, or raise OSError and leave
        nothing."""
        by_hook = [(hook, record) for hook, each in activations.items() for record in each]
        records = [record for _, record in by_hook]
        entries = [_entry_json(hook, record) for hook, record in by_hook]
        metadata = {
            "capture_id": capture_id,
            "model": model,
            "created": repr(created),
            "records": orjson.dumps(entries).decode(),
        }
        file = self._folder / f"{capture_id}.safetensors"
        unfinished = file.with_suffix(".part")
        size, pieces = body(tensors(records), metadata)
        try:
            with open(unfinished, "wb", opener=_private) as output:
                output.writelines(pieces)
                output.flush()
                os.fsync(output.fileno())
            unfinished.replace(file)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        nbytes = sum(record.nbytes for record in records)
        return SpilledCapture(capture_id, model, created, nbytes, file, size)


@dataclass(frozen=True)
class _Entry:
    """One record in a file: its fields, what a client is told of it, where its arrays lie, one
    after another from `start`. `parts` are what they are called in the record."""

    hook: str
    fields: dict[str, Any]
    manifest: dict[str, Any]
    parts: list[str]
    places: list[Place]
    start: int

    @property
    def nbytes(self) -> int:
        return sum(place.nbytes for place in self.places)

    def is_of(self, hook_id: str | None, step: int | None) -> bool:
        return hook_id in (None, self.hook) and step in (None, self.fields["step"])


@dataclass(frozen=True)
class _Contents:
    """An open file whose header has been read and checked."""

    stream: BinaryIO
    metadata: Mapping[str, str]
    entries: list[_Entry]

    def record(self, entry: _Entry) -> CapturedActivation:
        arrays, start = {}, entry.start
        for part, place in zip(entry.parts, entry.places, strict=True):
            arrays[part] = np.empty(place.shape, STORED[place.dtype])
            if place.nbytes:
                self._fill(start, arrays[part].reshape(-1).data.cast("B"))
            start += place.nbytes
        values = {name: _tuple(value) for name, value in entry.fields.items()}
        values["component"] = ComponentType(values["component"])
        return type_of_fields(values).of_arrays(values, arrays)

    def pieces(self, entry: _Entry) -> Iterator[memoryview]:
        for offset in range(0, entry.nbytes, CHUNK):
            piece = memoryview(bytearray(min(CHUNK, entry.nbytes - offset)))
            self._fill(entry.start + offset, piece)
            yield piece

    def _fill(self, start: int, room: memoryview) -> None:
        self.stream.seek(start)
        while room:
            count = self.stream.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise DamagedError("it ends too early")
            room = room[count:]


@contextmanager
def _contents(file: Path) -> Iterator[_Contents]:
    with open(file, "rb", buffering=0, opener=_no_link) as stream:
        yield _read_header(stream)


def _read_header(stream: BinaryIO) -> _Contents:
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), "little")
    start = 8 + length
    if length > min(LONGEST_HEADER, size - 8):
        raise DamagedError(f"it contains {size} bytes, fewer than its header needs")
    try:
        metadata = orjson.loads(stream.read(length))["__metadata__"]
        entries = list(_entries(orjson.loads(metadata["records"]), start))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError("its header is none of ours") from error
    needed = start + sum(entry.nbytes for entry in entries)
    if size != needed:
        raise DamagedError(f"it contains {size} bytes in place of {needed}")
    return _Contents(stream, metadata, entries)


def _entries(records: list[dict[str, Any]], start: int) -> Iterator[_Entry]:
    for record in records:
        parts = [part["part"] for part in record["arrays"]]
        places = [
            Place.of(part["tensor"], part["dtype"], part["shape"]) for part in record["arrays"]
        ]
        entry = _Entry(record["hook"], record["fields"], record["manifest"], parts, places, start)
        yield entry
        start += entry.nbytes


def _entry_json(hook: str, record: CapturedActivation) -> dict[str, Any]:
    return {
        "hook": hook,
        "fields": record.scalars,
        "manifest": record_json(record, "reference"),
        "arrays": [
            {
                "part": part,
                "tensor": part_name(record, part),
                "dtype": dtype,
                "shape": array.shape,
            }
            for part, dtype, array in record.arrays
        ],
    }


def _described(file: Path, capture_id: str) -> SpilledCapture:
    with _contents(file) as contents:
        metadata = contents.metadata
        if metadata.get("capture_id") != capture_id:
            raise DamagedError("it is of another capture")
        try:
            model, created = metadata["model"], float(metadata["created"])
        except (KeyError, ValueError) as error:
            raise DamagedError("its header is none of ours") from error
        nbytes = sum(entry.nbytes for entry in contents.entries)
        size = os.fstat(contents.stream.fileno()).st_size
    return SpilledCapture(capture_id, model, created, nbytes, file, size)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _no_link(path: str, flags: int) -> int:
    """Open a regular file: a pipe in its place would be waited for."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not os.path.isfile(path):
        os.close(descriptor)
        raise DamagedError("it is not a regular file")
    return descriptor


_claimed: dict[tuple[int, int], int] = {}
"""The folders that this process has claimed, and the descriptors that hold the claims."""


def _claim(folder: Path) -> None:
    """Keep other processes off a folder for as long as this one lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) in _claimed:
        os.close(descriptor)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InvalidRequestError(f"{folder} is the spill folder of another server") from error
    _claimed[status.st_dev, status.st_ino] = descriptor
