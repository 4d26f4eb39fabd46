"""What one generation captures, gathered as it goes and kept once it is whole."""

from typing import Any

from engine.captures.records import Activations
from engine.contract.schemas import ActivationFormat, Capturing, Sampling
from engine.server.state.captures import CaptureStore, new_capture
from engine.server.wire.records import activations_json


class Collector:
    """Describes captures in the reply as its request wants them.

    A plain completion, which asked for none, says only under which id the activations of the
    registered hooks are kept, if there were any.
    """

    def __init__(self, store: CaptureStore, model_id: str, request: Sampling) -> None:
        self._store = store
        self._capture = new_capture(model_id)
        self._form: ActivationFormat | None = None
        if isinstance(request, Capturing):
            self._form = request.activation_format

    def collect(self, activations: Activations) -> None:
        for hook_id, records in activations.items():
            self._capture.activations.setdefault(hook_id, []).extend(records)

    def keep(self) -> dict[str, Any]:
        """Put the capture into the store; returns its description for a whole reply."""
        if self._form or self._capture.activations:
            self._store.add(self._capture)
        return self.described(self._capture.activations)

    def described(self, activations: Activations) -> dict[str, Any]:
        """The fields that a reply adds for these activations."""
        if self._form:
            return {
                "capture_id": self._capture.capture_id,
                "activations": activations_json(activations, self._form),
            }
        return {"capture_id": self._capture.capture_id} if self._capture.activations else {}
