"""A message that a grammar holds: an answer, or calls in the form that `calls_grammar` has."""

import json
from collections.abc import Sequence

from mlx_lm.generate import TextStateMachine

from engine.runs.messages import NORMAL, REASONING, Parts
from engine.runs.tools import HERMES, Tool

BEGIN, END = f"{HERMES.start}\n", f"\n{HERMES.end}"
DECODER = json.JSONDecoder()


class ConstrainedMessage:
    """Takes a message apart that a grammar holds.

    No marker in it means anything but `think_end`, the end of the thinking that its prompt has
    begun, if so, and those of calls, where the text begins as one of a call of these `tools`.
    """

    def __init__(self, think_end: str | None = None, tools: Sequence[Tool] = ()):
        edges = [(think_end, NORMAL)] if think_end else []
        machine = TextStateMachine({REASONING: edges, NORMAL: []})
        self._machine = machine.make_state(REASONING if think_end else NORMAL)
        self._tools = tools
        self._held = ""
        self._is_answer = not tools
        self.called = 0

    def add(self, text: str) -> Parts:
        self._machine, segments = TextStateMachine.split(self._machine, text)
        parts = Parts()
        for state, segment in segments:
            parts += Parts(reasoning=segment) if state == REASONING else self._behind(segment)
        return parts

    def finish(self, *, is_whole: bool) -> Parts:
        self._machine, text, state = TextStateMachine.flush(self._machine)
        parts = Parts(reasoning=text) if state == REASONING else self._behind(text)
        held, self._held = self._held, ""
        return parts + Parts(held)

    def _behind(self, segment: str) -> Parts:
        """What comes behind the thinking."""
        if self._is_answer:
            return Parts(segment)
        self._held += segment
        shared = min(len(self._held), len(BEGIN))
        if not self.called and self._held[:shared] != BEGIN[:shared]:
            self._is_answer = True
            held, self._held = self._held, ""
            return Parts(held)
        return self._ended_calls() if END[-1] in segment else Parts()

    def _ended_calls(self) -> Parts:
        """The calls whose end is there."""
        parts = Parts()
        while (end := self._end_of_first()) is not None:
            inside = self._held[len(BEGIN) : end - len(END)]
            calls = HERMES.calls(inside, self._tools)
            if calls is None:
                break
            self._held = self._held[end:]
            self.called += len(calls)
            parts += Parts(calls=tuple(calls))
        return parts

    def _end_of_first(self) -> int | None:
        """Where the first call ends, which may have its marker inside a string."""
        if self.called:
            self._held = self._held.removeprefix("\n")
        if not self._held.startswith(BEGIN):
            return None
        try:
            _, end = DECODER.raw_decode(self._held, len(BEGIN))
        except (ValueError, RecursionError):
            return None
        return end + len(END) if self._held.startswith(END, end) else None
