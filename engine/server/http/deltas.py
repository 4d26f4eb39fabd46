"""What each token adds to a choice: text that can be shown, and the tokens that it belongs to."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.runs.results import GenerationResult, TokenChoice
from engine.runs.scoring import ScoredToken
from engine.runs.tools import ToolCall


class RatedToken(Protocol):
    """A token with its log-probability, None if nothing predicts it, and likelier ones."""

    @property
    def token(self) -> int: ...

    @property
    def logprob(self) -> float | None: ...

    @property
    def top_logprobs(self) -> tuple[TokenChoice, ...]: ...


@dataclass(frozen=True)
class PlacedToken:
    """A token, and where it begins in the choice's text, in characters."""

    rated: RatedToken
    offset: int


@dataclass(frozen=True)
class PlacedCall:
    """A call of a tool, and which one of its choice's it is."""

    index: int
    call: ToolCall


@dataclass(frozen=True)
class Delta:
    """A part of a choice: text, and tokens whose log-probabilities are told with it. Of a message
    also its thinking, which is no part of the text, and its calls."""

    text: str
    tokens: tuple[PlacedToken, ...]
    reasoning: str = ""
    calls: tuple[PlacedCall, ...] = ()


def joined(deltas: Iterable[Delta]) -> Delta:
    """The parts of a choice as one."""
    deltas = list(deltas)
    return Delta(
        "".join(delta.text for delta in deltas),
        tuple(token for delta in deltas for token in delta.tokens),
        "".join(delta.reasoning for delta in deltas),
        tuple(call for delta in deltas for call in delta.calls),
    )


class Deltas:
    """Makes the parts of one choice, in order.

    Text that may begin a stop string is held back, and with it the tokens that it belongs to: a
    stop string ends the text, and tokens that begin after the end are not told. Where the prompt is
    echoed, `echo` is the text that each of its tokens adds; it comes first.
    """

    def __init__(self, may_stop: bool, echo: Sequence[str] = ()) -> None:
        self._may_stop = may_stop
        self._echo = tuple(echo)
        self._next = self._shown = 0
        self._held: deque[PlacedToken] = deque()

    def scored(self, tokens: Sequence[ScoredToken]) -> Delta:
        """The echo of a prompt, with its tokens."""
        placed = []
        for piece, token in zip(self._echo, tokens, strict=True):
            placed.append(PlacedToken(token, self._next))
            self._next += len(piece)
        return Delta(self._echoed(), tuple(placed))

    def generated(self, result: GenerationResult) -> Delta:
        """What a generated token adds; before the first one, an echo that has no scores."""
        echoed = self._echoed()
        self._held.append(PlacedToken(result, self._next))
        self._next += len(result.piece)
        self._shown += len(result.text)
        return Delta(echoed + result.text, tuple(self._released(result.finish_reason is not None)))

    def _echoed(self) -> str:
        """The echo, if it has not been told yet."""
        text, self._echo = "".join(self._echo), ()
        if text:
            self._next = self._shown = len(text)
        return text

    def _released(self, is_last: bool) -> Iterable[PlacedToken]:
        """The held tokens that are sure to be part of the text."""
        all_is_shown = self._shown == self._next
        while self._held:
            is_sure = not self._may_stop or (is_last and all_is_shown)
            if not is_sure and self._held[0].offset >= self._shown:
                return
            yield self._held.popleft()
