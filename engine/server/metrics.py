"""What the server has done and is doing, as Prometheus reads it."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from engine.server.jobs.rows import Rows
from engine.server.jobs.task import Task

PREFIX = "neuroscope"
SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)
ROWS = (1, 2, 4, 8, 16, 32, 64)


Gauges = dict[str, tuple[str, Callable[[], float]]]
"""The names of what is measured at each reading, with what it is and how it is measured."""


class Metrics:
    """Counters of one server, and gauges that are measured when they are read."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(gauges))
        self._requests = Counter(
            "requests",
            "Requests that were replied to.",
            ["operation", "status"],
            namespace=PREFIX,
            registry=self._registry,
        )
        self._seconds = Histogram(
            "request_seconds",
            "Seconds from a request to the end of its reply.",
            ["operation"],
            namespace=PREFIX,
            registry=self._registry,
            buckets=SECONDS,
        )
        self._prefixes = Counter(
            "prefixes",
            "Prompts that began as an earlier one whose keys and values were kept, and others.",
            ["result"],
            namespace=PREFIX,
            registry=self._registry,
        )
        self._tokens = Counter(
            "tokens",
            "Tokens of prompts, those of them that did not go through the model again, and tokens "
            "generated after them.",
            ["kind"],
            namespace=PREFIX,
            registry=self._registry,
        )

        self._turns = Histogram(
            "turn_seconds",
            "Seconds that work on the generation thread takes before other work may run.",
            ["work"],
            namespace=PREFIX,
            registry=self._registry,
            buckets=SECONDS,
        )
        self._longest = Gauge(
            "longest_turn_seconds",
            "The most of these seconds since the server was started.",
            ["work"],
            namespace=PREFIX,
            registry=self._registry,
        )
        self._longest_turns: dict[str, float] = {}
        self._batch = Histogram(
            "batch_size",
            "Generations that share a pass.",
            namespace=PREFIX,
            registry=self._registry,
            buckets=ROWS,
        )

    def turned(self, turn: Task | Rows) -> None:
        """Count a turn on the generation thread."""
        self._turns.labels(turn.name).observe(turn.took)
        if turn.took > self._longest_turns.get(turn.name, 0.0):
            self._longest_turns[turn.name] = turn.took
            self._longest.labels(turn.name).set(turn.took)
        if isinstance(turn, Rows):
            self._batch.observe(turn.size)

    def replied(self, operation: str, status: int, seconds: float) -> None:
        """Count a reply that has been sent."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def prompted(self, count: int) -> None:
        """Count the tokens of a prompt."""
        self._tokens.labels("prompt").inc(count)

    def begun(self, cached_tokens: int) -> None:
        """Count a prompt, of whose tokens so many did not go through the model again."""
        self._prefixes.labels("hit" if cached_tokens else "miss").inc()
        self._tokens.labels("cached").inc(cached_tokens)

    def generated(self) -> None:
        """Count a token that was generated."""
        self._tokens.labels("generated").inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (text, measure) in self._gauges.items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=measure())
