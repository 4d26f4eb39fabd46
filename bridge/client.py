"""The Python client of the endpoint: every operation of the API document, and short ways."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard, cast

import httpx
import numpy as np

from bridge import api_types as api
from bridge.api_client import AsyncOperations, Operations
from bridge.errors import InvalidRecordError, LMStudioError
from bridge.wire import from_record, to_value

Prompt = str | list[int]
Block = Callable[[api.ActivationRecord, np.ndarray], np.ndarray | None]
"""What a live session calls at each breakpoint: it takes the breakpoint's record and array, and
returns the array to continue with, or None to leave the value as it is."""


class LMStudioNeuroScopeClient(Operations):
    """A connection to a running engine; blocks until each reply is there."""

    def health_check(self) -> bool:
        """Whether an engine can be reached and is ready for requests."""
        try:
            return self.health()["ready"]
        except (httpx.TransportError, LMStudioError):
            return False

    def generate_with_activations(
        self,
        messages: Prompt | Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec],
        **options: Any,
    ) -> api.ChatCompletionWithActivations | api.CompletionWithActivations:
        """Reply to chat messages, or continue a text or token ids, and capture activations.

        Options are the further fields of the request: max_tokens, temperature, interventions, ...
        """
        if _is_chat(messages):
            return self.create_chat_completion_with_activations(
                messages, activation_hooks, **options
            )
        return self.create_completion_with_activations(
            cast(Prompt, messages), activation_hooks, **options
        )

    def forward_through(
        self,
        prompt: Prompt | list[list[int]],
        breakpoints: Sequence[api.BreakpointSpec],
        block: Block,
        **options: Any,
    ) -> api.Forward:
        """One forward pass that continues, at each breakpoint, with what `block` returns.

        If the block raises, the pass is cancelled.
        """
        return self._through(self.begin_forward_session(prompt, breakpoints, **options), block)

    def complete_through(
        self,
        prompt: Prompt,
        breakpoints: Sequence[api.BreakpointSpec],
        block: Block,
        **options: Any,
    ) -> api.CompletionWithActivations:
        """A completion whose passes continue, at each breakpoint, with what `block` returns.

        The breakpoint's record says the step. If the block raises, the completion is cancelled.
        """
        return self._through(self.begin_completion_session(prompt, breakpoints, **options), block)

    def _through(self, state: api.SessionState, block: Block) -> Any:
        session = state["session_id"]
        while state["state"] == "paused":
            try:
                state = self.continue_session(session, _changed(state, block))
            except BaseException:
                with suppress(LMStudioError):  # over by itself
                    self.cancel_session(session)
                raise
        return state["result"]


class AsyncLMStudioNeuroScopeClient(AsyncOperations):
    """As `LMStudioNeuroScopeClient`, for asynchronous code; blocks of sessions are plain ones."""

    async def health_check(self) -> bool:
        """Whether an engine can be reached and is ready for requests."""
        try:
            return (await self.health())["ready"]
        except (httpx.TransportError, LMStudioError):
            return False

    async def generate_with_activations(
        self,
        messages: Prompt | Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec],
        **options: Any,
    ) -> api.ChatCompletionWithActivations | api.CompletionWithActivations:
        """Reply to chat messages, or continue a text or token ids, and capture activations."""
        if _is_chat(messages):
            return await self.create_chat_completion_with_activations(
                messages, activation_hooks, **options
            )
        return await self.create_completion_with_activations(
            cast(Prompt, messages), activation_hooks, **options
        )

    async def forward_through(
        self,
        prompt: Prompt | list[list[int]],
        breakpoints: Sequence[api.BreakpointSpec],
        block: Block,
        **options: Any,
    ) -> api.Forward:
        """One forward pass that continues, at each breakpoint, with what `block` returns."""
        state = await self.begin_forward_session(prompt, breakpoints, **options)
        return await self._through(state, block)

    async def complete_through(
        self,
        prompt: Prompt,
        breakpoints: Sequence[api.BreakpointSpec],
        block: Block,
        **options: Any,
    ) -> api.CompletionWithActivations:
        """A completion whose passes continue, at each breakpoint, with what `block` returns."""
        state = await self.begin_completion_session(prompt, breakpoints, **options)
        return await self._through(state, block)

    async def _through(self, state: api.SessionState, block: Block) -> Any:
        session = state["session_id"]
        while state["state"] == "paused":
            try:
                state = await self.continue_session(session, _changed(state, block))
            except BaseException:
                with suppress(LMStudioError):  # over by itself
                    await self.cancel_session(session)
                raise
        return state["result"]


def _is_chat(
    messages: Prompt | Sequence[api.ChatMessage],
) -> TypeGuard[Sequence[api.ChatMessage]]:
    return len(messages) > 0 and isinstance(messages[0], Mapping)


def _changed(state: api.SessionState, block: Block) -> Any:
    """The tensor to continue a paused session with, None if its block leaves the value."""
    record = state["breakpoint"]
    if record is None:
        raise InvalidRecordError(f"the session {state['session_id']} is paused without a record")
    changed = block(record, from_record(record, {}))
    return None if changed is None else to_value(changed)
