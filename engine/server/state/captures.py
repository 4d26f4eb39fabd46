"""The captures that are kept: up to a byte budget, oldest dropped first, and never silently."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from uuid import uuid4

import numpy as np

from engine.captures.records import Activations, CapturedActivation
from engine.errors import CaptureTooLargeError
from engine.server.errors import UnknownCaptureError
from engine.server.wire.safetensors_body import tensors, write_tensors

MOST = 10_000
"""How many captures are kept at most, however small."""
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


def new_capture(model: str) -> Capture:
    """An empty capture with an id of its own, to be filled while the model runs."""
    return Capture(f"cap-{uuid4().hex}", model, time.time(), {})


class CaptureStore:
    """Captures by id. With a `folder`, what passes the budget moves there as safetensors files
    and stays readable; without one it is dropped, and asking for it says so."""

    def __init__(self, budget_bytes: int, folder: Path | None = None) -> None:
        self.budget_bytes = budget_bytes
        self._folder = folder
        self._kept: OrderedDict[str, Capture] = OrderedDict()
        self._spilled: dict[str, Capture] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()
        self._bytes = 0
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._bytes

    def add(self, capture: Capture) -> None:
        """Keep a capture; raises CaptureTooLargeError if it alone passes the budget."""
        size = capture.nbytes
        if size > self.budget_bytes:
            raise CaptureTooLargeError(
                f"The capture contains {size} bytes; the budget for all captures is "
                f"{self.budget_bytes} bytes."
            )
        with self._lock:
            while self._bytes + size > self.budget_bytes or len(self._kept) >= MOST:
                self._make_room(self._kept.popitem(last=False)[1])
            self._kept[capture.capture_id] = capture
            self._bytes += size

    def get(self, capture_id: str) -> Capture:
        """The capture of this id; UnknownCaptureError names why there is none."""
        with self._lock:
            if capture := self._kept.get(capture_id) or self._spilled.get(capture_id):
                return capture
            reason = self._gone.get(capture_id, "the server never made it")
        raise UnknownCaptureError(f"There is no capture {capture_id!r}: {reason}.", "capture_id")

    def all(self) -> list[Capture]:
        """All captures, oldest first."""
        with self._lock:
            return [*self._spilled.values(), *self._kept.values()]

    def forget(self, capture_id: str) -> None:
        self.get(capture_id)
        with self._lock:
            if capture := self._kept.pop(capture_id, None):
                self._bytes -= capture.nbytes
            elif self._spilled.pop(capture_id, None):
                self._file(capture_id).unlink()
            self._remember(capture_id, "it was deleted on request")

    def _make_room(self, capture: Capture) -> None:
        self._bytes -= capture.nbytes
        if self._folder:
            self._spilled[capture.capture_id] = self._spill(capture)
        else:
            self._remember(
                capture.capture_id,
                "it was dropped, being the oldest, to stay within "
                f"{self.budget_bytes} bytes and {MOST} captures",
            )

    def _spill(self, capture: Capture) -> Capture:
        """The same capture, its arrays mapped from a safetensors file."""
        file = self._file(capture.capture_id)
        offsets = write_tensors(file, tensors(capture.records()), {"model": capture.model})
        mapped = iter(
            replace(record, data=np.memmap(file, record.data.dtype, "r", offset, record.data.shape))
            for record, offset in zip(capture.records(), offsets, strict=True)
        )
        activations = {
            hook_id: [next(mapped) for _ in records]
            for hook_id, records in capture.activations.items()
        }
        return replace(capture, activations=activations)

    def _file(self, capture_id: str) -> Path:
        assert self._folder
        return self._folder / f"{capture_id}.safetensors"

    def _remember(self, capture_id: str, reason: str) -> None:
        self._gone[capture_id] = reason
        if len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)
