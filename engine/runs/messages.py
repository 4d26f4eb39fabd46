"""A generated message as its parts: thinking, text, and calls of tools, as they come.

The markers between them are found by mlx-lm's own machine. What looks like a call and is none stays
text, with its markers; blanks around calls are no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

from mlx_lm.generate import TextStateMachine, make_text_state_machine

from engine.runs.tokenizer import Tokenizer
from engine.runs.tools import CallFormat, Tool, ToolCall

NORMAL, REASONING, TOOL = "normal", "reasoning", "tool"
"""The states of mlx-lm's machine; in others that a model has, text is its message's header."""


@dataclass(frozen=True)
class Parts:
    """What a piece of text adds to each part of a message."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(
            self.text + other.text, self.reasoning + other.reasoning, self.calls + other.calls
        )


class MessageParts(Protocol):
    """Takes a message apart; `called` is the number of calls so far."""

    called: int

    def add(self, text: str) -> Parts:
        """What more text adds; some of it may be held back until it is known what it is."""

    def finish(self, *, is_whole: bool) -> Parts:
        """What is left at the end of the text, which `is_whole` or was cut off."""


class FreeMessage:
    """A message in the model's own form.

    `is_thinking` says that its prompt has begun the model's thinking. Without a `form` no calls are
    looked for. Where not `several` calls are wanted, only the first one is told.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        is_thinking: bool = False,
        form: CallFormat | None = None,
        tools: Sequence[Tool] = (),
        several: bool = True,
    ):
        self._form = form
        self._tools = tools
        self._several = several
        first = getattr(tokenizer, "response_initial_state", None)
        machine = make_text_state_machine(_markers(tokenizer, form))
        self._machine = machine.make_state(first or (REASONING if is_thinking else NORMAL))
        self._state: str = self._machine[0]
        self._call = ""
        self._blank = ""
        self.called = 0

    def add(self, text: str) -> Parts:
        self._machine, segments = TextStateMachine.split(self._machine, text)
        return self._sorted(segments)

    def finish(self, *, is_whole: bool) -> Parts:
        self._machine, text, state = TextStateMachine.flush(self._machine)
        parts = self._sorted([(state, text)])
        if self._state == TOOL and self._form:
            parts += self._ended_call(self._form, "", is_whole or not self._form.end)
        blank, self._blank = self._blank, ""
        return parts if self.called else parts + Parts(blank)

    def _sorted(self, segments: Sequence[tuple[str, str]]) -> Parts:
        parts = Parts()
        for state, segment in segments:
            if self._form and self._state == TOOL and state != TOOL:
                parts += self._ended_call(self._form, self._form.end, True)
            self._state = state
            if state == TOOL:
                self._call += segment
            elif state == REASONING:
                parts += Parts(reasoning=segment)
            elif state == NORMAL:
                parts += Parts(self._shown(segment))
        return parts

    def _shown(self, segment: str) -> str:
        """Text; where there may be calls, blanks at its end wait for what comes."""
        if self._form is None:
            return segment
        text = self._blank + segment
        shown = text.rstrip()
        self._blank = text[len(shown) :]
        return shown

    def _ended_call(self, form: CallFormat, end: str, is_whole: bool) -> Parts:
        inside, self._call = self._call, ""
        calls = form.calls(inside, self._tools) if is_whole else None
        if calls is None:
            return Parts(self._shown(form.start + inside + end))
        self._blank = ""
        if not self._several:
            calls = calls[: 0 if self.called else 1]
        self.called += len(calls)
        return Parts(calls=tuple(calls))


def _markers(tokenizer: Tokenizer, form: CallFormat | None) -> Any:
    """What mlx-lm's machine asks a tokenizer for; without a form it has no calls."""
    transitions = getattr(tokenizer, "response_transitions", {})
    return SimpleNamespace(
        has_thinking=getattr(tokenizer, "has_thinking", False),
        think_start=getattr(tokenizer, "think_start", None),
        think_end=getattr(tokenizer, "think_end", None),
        has_tool_calling=form is not None,
        tool_call_start=form and form.start,
        tool_call_end=form and form.end,
        structural_markers=getattr(tokenizer, "structural_markers", ()),
        response_transitions={
            state: [(marker, to) for marker, to in edges if form or to != TOOL]
            for state, edges in transitions.items()
        },
    )
