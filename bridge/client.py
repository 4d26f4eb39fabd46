"""The Python client of the endpoint, method for method what the Smalltalk one offers."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx
import numpy as np

from bridge.errors import LMStudioError
from bridge.wire import from_record, from_safetensors, to_value

if TYPE_CHECKING:
    from bridge import api_types as api

DEFAULT_URL = "http://127.0.0.1:50111"
TOKEN_VARIABLE = "NEUROSCOPE_TOKEN"


class LMStudioNeuroScopeClient:
    """A connection to a running engine.

    `timeout` is in seconds, for a whole request. The bearer token, where the engine asks for one,
    is read from the environment variable NEUROSCOPE_TOKEN unless given. Every refused request
    raises LMStudioError with the engine's message; an engine that does not answer raises
    httpx.TransportError.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, *, token: str | None = None, timeout: float = 600
    ) -> None:
        token = token or os.environ.get(TOKEN_VARIABLE)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def health(self) -> "api.Health":
        """Say whether the engine and its generation thread answer."""
        return self._json("GET", "/health")

    def health_check(self) -> bool:
        """Whether an engine answers and is ready for requests."""
        try:
            return self.health()["ready"]
        except (httpx.TransportError, LMStudioError):
            return False

    def list_models(self) -> list["api.ModelEntry"]:
        """The models that the engine has loaded."""
        return self._json("GET", "/v1/models")["data"]

    def load_model(
        self, model_path: str | Path, model_id: str | None = None, **options: Any
    ) -> "api.ModelEntry":
        """Load a model folder or hub id; options are the further fields of LoadModelRequest."""
        body = {"model_path": str(model_path), "model_id": model_id, **options}
        return self._json("POST", "/v1/models/load", body)

    def tokenize(self, text: "str | Sequence[api.ChatMessage]") -> "api.TokenizeResponse":
        """Token ids and token texts of a text, or of messages under the chat template."""
        field = "text" if isinstance(text, str) else "messages"
        return self._json("POST", "/v1/tokenize", {field: text})

    def generate_with_activations(
        self,
        messages: "str | Sequence[int] | Sequence[api.ChatMessage]",
        activation_hooks: "Sequence[api.HookSpec]",
        model: str | None = None,
        **options: Any,
    ) -> "api.ChatCompletionWithActivations | api.CompletionWithActivations":
        """Answer chat messages, or continue a text or token ids, and capture activations.

        Options are the further fields of the request: max_tokens, temperature, interventions, ...
        """
        chat = bool(messages) and isinstance(messages[0], Mapping)
        path = "/v1/chat/completions" if chat else "/v1/completions"
        field = "messages" if chat else "prompt"
        body = {field: messages, "activation_hooks": activation_hooks, "model": model, **options}
        return self._json("POST", f"{path}/with_activations", body)

    def forward(
        self,
        prompt: "str | Sequence[int] | Sequence[Sequence[int]]",
        activation_hooks: "Sequence[api.HookSpec]" = (),
        **options: Any,
    ) -> "api.Forward":
        """One forward pass over a text, token ids, or a batch of token ids of equal length."""
        body = {"prompt": prompt, "activation_hooks": activation_hooks, **options}
        return self._json("POST", "/v1/forward", body)

    def forward_through(
        self,
        prompt: "str | Sequence[int] | Sequence[Sequence[int]]",
        breakpoints: "Sequence[api.BreakpointSpec]",
        block: "Callable[[api.ActivationRecord, np.ndarray], np.ndarray | None]",
        **options: Any,
    ) -> "api.Forward":
        """One forward pass that continues, at each breakpoint, with the value that `block` returns.

        The block is given the breakpoint's record and its array; None leaves the value as it is.
        If it raises, the pass is cancelled.
        """
        body = {"prompt": prompt, "breakpoints": breakpoints, **options}
        return self._through("/v1/sessions", body, block)

    def complete_through(
        self,
        prompt: "str | Sequence[int]",
        breakpoints: "Sequence[api.BreakpointSpec]",
        block: "Callable[[api.ActivationRecord, np.ndarray], np.ndarray | None]",
        **options: Any,
    ) -> "api.CompletionWithActivations":
        """A completion whose passes continue, at each breakpoint, with what `block` returns.

        The block is as for `forward_through`; the breakpoint's record says the step.
        """
        body = {"prompt": prompt, "breakpoints": breakpoints, **options}
        return self._through("/v1/completions/with_breakpoints", body, block)

    def _through(
        self,
        beginning: str,
        body: dict[str, Any],
        block: "Callable[[api.ActivationRecord, np.ndarray], np.ndarray | None]",
    ) -> Any:
        state = self._json("POST", beginning, body)
        path = f"/v1/sessions/{state['session_id']}"
        while state["state"] == "paused":
            try:
                changed = block(state["breakpoint"], from_record(state["breakpoint"], {}))
                value = None if changed is None else to_value(changed)
                state = self._json("POST", path, {"value": value})
            except BaseException:
                with suppress(LMStudioError):  # over by itself
                    self._send("DELETE", path)
                raise
        return state["result"]

    def logit_lens(self, prompt: "str | Sequence[int]", **options: Any) -> "api.LogitLens":
        """What each layer's residual stream would predict at each position."""
        return self._json("POST", "/v1/logit_lens", {"prompt": prompt, **options})

    def patch_circuit(
        self,
        clean: "str | Sequence[int]",
        corrupted: "str | Sequence[int]",
        answer: str | int,
        distractor: str | int,
        **options: Any,
    ) -> "api.CircuitEffects":
        """How much each part of the model matters to the difference between two prompts."""
        task = {"clean": clean, "corrupted": corrupted, "answer": answer, "distractor": distractor}
        return self._json("POST", "/v1/circuits/patch", {**task, **options})

    def register_hooks(
        self, hooks: "Sequence[api.HookSpec]", model: str | None = None
    ) -> list[str]:
        """Register hooks that capture on every later generation; answers their ids."""
        body = {"hooks": hooks, "model": model}
        return self._json("POST", "/v1/activations/hooks", body)["registered_hooks"]

    def list_hooks(self) -> list["api.HookEntry"]:
        """The registered hooks."""
        return self._json("GET", "/v1/activations/hooks")["hooks"]

    def clear_hooks(self) -> list[str]:
        """Remove all registered hooks; answers their ids."""
        return self._json("DELETE", "/v1/activations/hooks")["removed_hooks"]

    def capture(self, capture_id: str) -> "api.CaptureManifest":
        """Describe one kept capture: its records, without data."""
        return self._json("GET", f"/v1/activations/{capture_id}")

    def tensors(
        self, capture_id: str, hook_id: str | None = None, step: int | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of a kept capture by tensor name, all or those of one hook or step."""
        chosen = {"hook_id": hook_id, "step": step}
        params = {name: value for name, value in chosen.items() if value is not None}
        path = f"/v1/activations/{capture_id}/tensors"
        return from_safetensors(self._send("GET", path, params=params).content)

    def forget(self, capture_id: str) -> None:
        """Forget one kept capture."""
        self._send("DELETE", f"/v1/activations/{capture_id}")

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        given = body and {name: value for name, value in body.items() if value is not None}
        return self._send(method, path, json=given).json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        response = self._http.request(method, path, **content)
        if response.is_success:
            return response
        try:
            error = response.json()["error"]
        except (ValueError, KeyError):
            raise LMStudioError(response.status_code, "unexpected", response.text[:500]) from None
        raise LMStudioError(
            response.status_code, error["type"], error["message"], error.get("param")
        )
