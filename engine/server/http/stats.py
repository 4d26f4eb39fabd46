"""How fast a reply was generated, in LM Studio's terms."""

from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any, TypeVar

from engine.contract.schemas import GenerationStats

Event = TypeVar("Event")


class Stopwatch:
    """Seconds from its making to the first and to the latest event of a generation."""

    def __init__(self) -> None:
        self._start = perf_counter()
        self._first: float | None = None
        self._latest = self._start

    def timed(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same events."""
        for event in events:
            self._latest = perf_counter()
            if self._first is None:
                self._first = self._latest
            yield event

    def stats(
        self, completion_tokens: int, stop_reason: str, drafts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What the reply tells of a generation of so many tokens, all choices together, and of its
        drafts."""
        first = self._latest if self._first is None else self._first
        waited, generated = first - self._start, self._latest - first
        rate = (
            completion_tokens / waited
            if completion_tokens < 2
            else (completion_tokens - 1) / generated
        )
        return GenerationStats(
            tokens_per_second=rate,
            time_to_first_token=waited,
            generation_time=generated,
            stop_reason=stop_reason,
            **drafts,
        ).model_dump(exclude_none=True)
