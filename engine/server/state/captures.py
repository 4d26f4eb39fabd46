"""The captures that are kept: up to a byte budget, oldest dropped first, and never silently."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from engine.captures.records import Activations, CapturedActivation
from engine.errors import CaptureTooLargeError
from engine.server.errors import UnknownCaptureError
from engine.server.identifiers import new_id
from engine.server.state.spilling import SpilledCapture, SpillFolder
from engine.server.wire.records import activations_json
from engine.server.wire.safetensors_body import body, tensors

MOST = 10_000
"""How many captures are kept at most, however small."""
SPILLED_BYTES = 16 << 30
"""Bytes of a spill folder at most, unless a server says otherwise."""
REMEMBERED = 10_000
"""How many captures that are no longer kept are remembered with the reason."""


@dataclass(frozen=True)
class Capture:
    """What one request captured: hook id to one record a forward pass."""

    capture_id: str
    model: str
    created: float
    activations: Activations

    @cached_property
    def nbytes(self) -> int:
        """Size of the data in bytes; to be asked for once the capture is whole."""
        return sum(record.nbytes for record in self.records())

    def records(
        self, hook_id: str | None = None, step: int | None = None
    ) -> Iterator[CapturedActivation]:
        for name, records in self.activations.items():
            for record in records:
                if hook_id in (None, name) and step in (None, record.step):
                    yield record

    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """What the capture contains, by hook, without the data."""
        return activations_json(self.activations, "reference")

    def body(
        self, hook_id: str | None = None, step: int | None = None
    ) -> tuple[int, Iterator[bytes | memoryview]]:
        """The size of a safetensors body of these records, and its pieces."""
        metadata = {"capture_id": self.capture_id, "model": self.model}
        return body(tensors(self.records(hook_id, step)), metadata)


AnyCapture = Capture | SpilledCapture


def new_capture(model: str) -> Capture:
    """An empty capture with an id of its own, to be filled while the model runs."""
    return Capture(f"cap-{new_id()}", model, time.time(), {})


class CaptureStore:
    """Captures by id. With a folder, what passes the budget moves there and stays readable, until
    the folder's own budget drops the oldest; without one it is dropped. Asking for what was
    dropped says so."""

    def __init__(
        self, budget_bytes: int, folder: Path | None = None, folder_bytes: int = SPILLED_BYTES
    ) -> None:
        self.budget_bytes = budget_bytes
        self._folder = SpillFolder(folder, folder_bytes) if folder else None
        self._kept: OrderedDict[str, Capture] = OrderedDict()
        self._spilled: OrderedDict[str, SpilledCapture] = OrderedDict()
        self._gone: OrderedDict[str, str] = OrderedDict()
        self._adding = Lock()
        self._lock = Lock()
        self._bytes = 0
        self._spilled_bytes = 0
        if self._folder:
            for capture in self._folder.found():
                self._register(capture)
            self._drop_spilled()

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._bytes

    @property
    def spilled_bytes(self) -> int:
        """Bytes of the files in the folder."""
        return self._spilled_bytes

    def add(self, capture: Capture) -> None:
        """Keep a capture; raises CaptureTooLargeError if it alone passes the budget, or if there
        is no room because the oldest cannot be moved to the folder. Nothing that is kept is lost.
        """
        size = capture.nbytes
        if size > self.budget_bytes:
            raise CaptureTooLargeError(
                f"The capture contains {size} bytes; the budget for all captures is "
                f"{self.budget_bytes} bytes."
            )
        with self._adding:
            while self._bytes + size > self.budget_bytes or len(self._kept) >= MOST:
                self._make_room()
            with self._lock:
                self._kept[capture.capture_id] = capture
                self._bytes += size

    def get(self, capture_id: str) -> AnyCapture:
        """The capture of this id; UnknownCaptureError names why there is none."""
        with self._lock:
            if capture := self._kept.get(capture_id) or self._spilled.get(capture_id):
                return capture
            reason = self._gone.get(capture_id, "the server never made it")
        raise UnknownCaptureError(f"There is no capture {capture_id!r}: {reason}.", "capture_id")

    def all(self) -> list[AnyCapture]:
        """All captures, oldest first."""
        with self._lock:
            return [*self._spilled.values(), *self._kept.values()]

    def forget(self, capture_id: str) -> None:
        self.get(capture_id)
        with self._lock:
            if capture := self._kept.pop(capture_id, None):
                self._bytes -= capture.nbytes
            else:
                self._remove_spilled(capture_id)
            self._remember(capture_id, "it was deleted on request")

    def _make_room(self) -> None:
        """Move the oldest to the folder, or drop it; while it is written it is still kept."""
        with self._lock:
            if not (oldest := next(iter(self._kept.values()), None)):
                return
        spilled = self._spill(oldest)
        with self._lock:
            if self._kept.pop(oldest.capture_id, None) is None:  # forgotten meanwhile
                if spilled:
                    spilled.file.unlink(missing_ok=True)
                return
            self._bytes -= oldest.nbytes
            if spilled:
                self._register(spilled)
                self._drop_spilled()
            else:
                self._remember(
                    oldest.capture_id,
                    "it was dropped, being the oldest, to stay within "
                    f"{self.budget_bytes} bytes and {MOST} captures",
                )

    def _spill(self, capture: Capture) -> SpilledCapture | None:
        if not self._folder:
            return None
        try:
            return self._folder.write(
                capture.capture_id, capture.model, capture.created, capture.activations
            )
        except OSError as error:
            raise CaptureTooLargeError(
                f"There is no room for this capture: {capture.capture_id} could not be moved to "
                f"the spill folder: {error.strerror}."
            ) from error

    def _register(self, capture: SpilledCapture) -> None:
        self._spilled[capture.capture_id] = capture
        self._spilled_bytes += capture.file_bytes

    def _drop_spilled(self) -> None:
        """Keep the folder within its budget."""
        assert self._folder
        most = self._folder.budget_bytes
        while self._spilled_bytes > most or len(self._spilled) > MOST:
            oldest = next(iter(self._spilled))
            self._remove_spilled(oldest)
            self._remember(
                oldest,
                "it was dropped from the spill folder, being the oldest, to stay within "
                f"{most} bytes and {MOST} captures",
            )

    def _remove_spilled(self, capture_id: str) -> None:
        if capture := self._spilled.pop(capture_id, None):
            self._spilled_bytes -= capture.file_bytes
            capture.file.unlink(missing_ok=True)

    def _remember(self, capture_id: str, reason: str) -> None:
        self._gone[capture_id] = reason
        if len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)
