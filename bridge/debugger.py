"""A forward pass in steps, from Python: the operations of a debug session as one object."""

from contextlib import suppress
from types import TracebackType
from typing import Any, Literal

import numpy as np

from bridge import api_types as api
from bridge.api_client import Operations
from bridge.errors import LMStudioError
from bridge.wire import from_record, to_value


class ForwardDebugger:
    """A forward pass that an engine runs in steps; it begins stopped before the first layer.

    `state` says where it is: `at` the place, `layer` the one that runs next, `changes`, and at the
    end `top`, the likeliest next tokens. Errors are those of the operations, such as
    LMStudioError for a place that is behind. As a context manager it ends its session.

    >>> with ForwardDebugger(client, "The capital of France is") as debugger:
    ...     debugger.step_to(12, "mlp")
    ...     debugger.value = 0 * debugger.value
    ...     print(debugger.run()["top"][0]["text"], debugger.fork()["divergence"])
    """

    def __init__(self, client: Operations, prompt: str | list[int], **options: Any) -> None:
        self._client = client
        self.state: api.DebugState = client.begin_debug_session(prompt, **options)

    @property
    def session_id(self) -> str:
        """The id of the session, for the operations that need it."""
        return self.state["session_id"]

    @property
    def value(self) -> np.ndarray:
        """The value here in float32, of its component's shape; at the end the last logits,
        ``[1, 1, vocab]``. It may be assigned: None puts the model's own back."""
        return from_record(self._client.read_debug_session(self.session_id), {})

    @value.setter
    def value(self, value: np.ndarray | None) -> None:
        changed: Any = None if value is None else to_value(value)
        self.state = self._client.change_debug_session(self.session_id, value=changed)

    def step(self, to: Literal["layer", "point"] = "layer") -> api.DebugState:
        """Go on to where the layer ends, or to the next value."""
        return self._stepped(to=to)

    def step_to(self, layer: int | str, component: str | None = None) -> api.DebugState:
        """Go on to a place that is ahead, by any of its names."""
        return self._stepped(layer_name=str(layer), component=component)

    def run(self) -> api.DebugState:
        """Go on to the end."""
        return self._stepped(to="end")

    def restart(self, layer: int = 0) -> api.DebugState:
        """Go back to where a layer begins, and forget what was changed behind it."""
        self.state = self._client.restart_debug_session(self.session_id, layer)
        return self.state

    def logit_lens(self, **options: Any) -> api.DebugLens:
        """The likeliest next tokens, read from the residual stream here; `position`, `top_k`."""
        return self._client.debug_logit_lens(self.session_id, **options)

    def fork(self, value: np.ndarray | None = None, **options: Any) -> api.DebugFork:
        """Compare the pass as it is with that with another value here; without a value, the
        model's own pass with the changed one."""
        other: Any = None if value is None else to_value(value)
        return self._client.fork_debug_session(self.session_id, value=other, **options)

    def close(self) -> None:
        """End the session, which frees what the engine keeps for it."""
        self._client.end_debug_session(self.session_id)

    def __enter__(self) -> "ForwardDebugger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(LMStudioError):  # over by itself
            self.close()

    def _stepped(self, **target: Any) -> api.DebugState:
        self.state = self._client.step_debug_session(self.session_id, **target)
        return self.state
