"""What is trained, where, and for how long."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from engine.errors import InvalidRequestError

Architecture = Literal["topk", "batchtopk", "jumprelu", "standard", "transcoder"]
"""What decides which features are on.

- *topk*: the k largest of each position (Gao et al. 2024, arXiv:2406.04093).
- *batchtopk*: k for each position on average, the largest of a batch (Bussmann et al. 2024,
  arXiv:2412.06410). It becomes a JumpReLU whose threshold is the smallest that was on.
- *jumprelu*: those above a threshold of their own, which is learned with a penalty on how far their
  number is from k (Rajamanoharan et al. 2024, arXiv:2407.14435).
- *standard*: those above 0, with a penalty on their sum.
- *transcoder*: from a component's input to its output (Dunefsky et al. 2024, arXiv:2406.11944),
  with the features of *batchtopk*.
"""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """All that decides what is trained; equal settings over equal texts give equal features.

    `features` is how many there are, `k` how many of them are on at a position, on average
    (*standard*: not used). `tokens` are those that are trained on, `batch` of them in a step;
    texts that have fewer are read again. `context` is the length of a window of text, `sequences`
    how many windows are run together, `skipped` the positions at each window's start that are left
    out: the residual stream of a first position is many times as long as the others in most
    models. `buffer` is the number of activations among which a batch is drawn.

    The learning rate rises over the first `warm_up` of the steps and falls to 0 over the last
    `decay` of them. `sparsity` weighs the penalty of *standard* and *jumprelu*. A feature that
    was not on for `dead_after` tokens is dead: dead ones learn from what the others leave, by a
    loss of the weight `auxiliary`.

    Raises InvalidRequestError that names the setting and what is allowed.
    """

    architecture: Architecture = "topk"
    component: str = "residual"
    layer: int
    features: int = 4096
    k: int = 32
    tokens: int = 1_000_000
    context: int = 128
    sequences: int = 16
    skipped: int = 1
    batch: int = 1024
    buffer: int = 32_768
    learning_rate: float = 1e-3
    warm_up: float = 0.05
    decay: float = 0.2
    sparsity: float = 5.0
    auxiliary: float = 1 / 32
    dead_after: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise InvalidRequestError(f"architecture: {self.architecture!r} is none of {known}")
        for name in ("features", "k", "tokens", "sequences", "batch", "buffer", "dead_after"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("skipped", "seed"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        self._check("k", self.k <= self.features, f"at most the {self.features} features")
        self._check("tokens", self.tokens >= self.batch, f"at least the {self.batch} of a step")
        self._check("buffer", self.buffer >= 2 * self.batch, f"at least two times {self.batch}")
        self._check("context", self.context > self.skipped, f"more than {self.skipped} skipped")
        self._check("learning_rate", self.learning_rate > 0, "more than 0")
        for name in ("sparsity", "auxiliary"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("warm_up", "decay"):
            self._check(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        self._check("decay", self.warm_up + self.decay <= 1, f"at most 1 - {self.warm_up}")

    def _check(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise InvalidRequestError(f"{name}: {getattr(self, name)} is not {allowed}")

    @property
    def steps(self) -> int:
        """How many whole batches the tokens make."""
        return self.tokens // self.batch

    @property
    def is_transcoder(self) -> bool:
        return self.architecture == "transcoder"

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, for JSON."""
        return asdict(self)
