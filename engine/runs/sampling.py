"""How tokens are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlx_lm.sample_utils import LogitsProcessor, make_logits_processors

from engine.errors import InvalidRequestError
from engine.runs.constraint import Constraint
from engine.runs.grammars import CompiledGrammar
from engine.runs.kit import ModelKit
from engine.runs.penalties import Penalties
from engine.runs.sampler import LARGEST_SEED, LEAST_SEED, Sampler

COLDEST = 1e-6
"""Temperature below which logits would leave float32."""
MOST_PENALTY = 2
"""OpenAI's bound of a presence or frequency penalty, in logits."""
BOUNDS = f"-{MOST_PENALTY} to {MOST_PENALTY}"


@dataclass(frozen=True)
class Sampling:
    """Options of a generation; temperature 0 is greedy, `top_k` 0 and `top_p` 1 keep all.

    `seed` is any integer of 64 bits, signed or not; without it each run draws differently.
    `choice` counts the runs of one seed over one prompt, each of which draws differently.
    `presence_penalty` is taken from the logit of each token generated so far, `frequency_penalty`
    once for each time. `logit_bias` maps token ids to what is added to their logits. A text ends
    before the first of `stop_strings`. A token that `grammar` does not allow is never chosen, and
    the text ends where it may; captured logits are the model's own. `num_draft_tokens` is for a
    draft model, and `prefill_step_size` the most tokens of a prompt that one pass takes.
    """

    max_tokens: int = 100
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    choice: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    repetition_context_size: int = 20
    logit_bias: Mapping[int, float] | None = None
    stop_strings: Sequence[str] = ()
    top_logprobs: int = 0
    grammar: CompiledGrammar | None = None
    num_draft_tokens: int = 3
    prefill_step_size: int = 2048

    def check(self, kit: ModelKit) -> None:
        """Raise InvalidRequestError for a value that has no meaning."""
        vocab = kit.info.vocab_size
        penalty = self.repetition_penalty
        allowed = {
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "temperature": (
                self.temperature == 0 or self.temperature >= COLDEST,
                f"0 or at least {COLDEST}",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "seed": (
                self.seed is None or LEAST_SEED <= self.seed <= LARGEST_SEED,
                f"{LEAST_SEED} to {LARGEST_SEED}",
            ),
            "choice": (self.choice >= 0, "at least 0"),
            "presence_penalty": (abs(self.presence_penalty) <= MOST_PENALTY, BOUNDS),
            "frequency_penalty": (abs(self.frequency_penalty) <= MOST_PENALTY, BOUNDS),
            "repetition_penalty": (penalty is None or penalty > 0, "above 0"),
            "repetition_context_size": (self.repetition_context_size >= 1, "at least 1"),
            "logit_bias": (
                all(0 <= t < vocab for t in self.logit_bias or ()),
                f"tokens below {vocab}",
            ),
            "top_logprobs": (0 <= self.top_logprobs <= vocab, f"0 to {vocab}"),
            "num_draft_tokens": (self.num_draft_tokens >= 1, "at least 1"),
            "prefill_step_size": (self.prefill_step_size >= 1, "at least 1"),
        }
        for name, (is_fine, range_) in allowed.items():
            if not is_fine:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r}, not {range_}")

    def sampler(self) -> Sampler:
        """A sampler for one run: it has a random key of its own."""
        return Sampler(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            seed=self.seed,
            choice=self.choice,
        )

    def logits_processors(self, prompt_tokens: int) -> list[LogitsProcessor]:
        """What changes the logits of one run, of whose tokens so many are the prompt's."""
        processors = make_logits_processors(
            dict(self.logit_bias or {}), self.repetition_penalty, self.repetition_context_size
        )
        if self.presence_penalty or self.frequency_penalty:
            penalties = Penalties(self.presence_penalty, self.frequency_penalty, prompt_tokens)
            processors.append(penalties)
        if self.grammar is not None:
            processors.append(Constraint(self.grammar, prompt_tokens))
        return processors
