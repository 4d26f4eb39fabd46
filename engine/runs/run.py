"""One generation under way: its prompt, its own way to choose tokens, and how far it is."""

import math
from collections.abc import Callable, Sequence

import mlx.core as mx
from mlx_lm.generate import generation_stream

from engine.captures.encoding import encoded
from engine.captures.hooks import ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.steps import records
from engine.errors import InterventionError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import AnyIntervention
from engine.machine.gaps import gaps_explained
from engine.runs.choices import Chooser, Step
from engine.runs.finite import not_finite
from engine.runs.footprint import looks_at_scores
from engine.runs.kit import ModelKit
from engine.runs.prefixes import PrefixCache
from engine.runs.results import FinishReason, Generated, GenerationResult, token_choices
from engine.runs.sampling import Sampling
from engine.runs.special_tokens import special_positions, without_special
from engine.runs.steps import in_steps, is_long
from engine.runs.stopping import StopStrings
from engine.runs.text_stream import TextStream
from engine.taps.attention import KERNEL_COMPONENTS
from engine.taps.observation import Observation
from engine.taps.points import Span
from engine.taps.positions import tokens_in

GROWTH = 256
"""Tokens after which it is asked whether the memory suffices for as many more."""
Progress = Callable[[int, int], None]


class Run:
    """One generation. A batch runs its passes, alone or together with those of other runs.

    `is_long` says whether its prompt is better read on its own, in steps, before it joins others.
    `position` is that of the next token to go through the model: the number of those that have.
    The last token of the prompt goes through in a pass like those of the generated ones. With a
    `prompt_cache` of the caller the last generated token goes through too, so that the cache
    contains all of them.

    A prompt that begins as one of the `prefixes` goes on from there, or from the first position
    that a hook or an intervention needs to go through the model; `cached_tokens` are those that do
    not. What an intervention has changed never gets there.
    """

    def __init__(
        self,
        kit: ModelKit,
        tokens: Sequence[int],
        hooks: Sequence[ResolvedHook],
        sampling: Sampling,
        *,
        interventions: Sequence[AnyIntervention] = (),
        prompt_cache: list | None = None,
        prefixes: PrefixCache | None = None,
        progress: Progress | None = None,
        budget_bytes: int | None = None,
    ):
        check_passes(interventions)
        kit.check_tokens([tokens])
        sampling.check(kit)
        self.kit = kit
        self.tokens = list(tokens)
        self.sampling = sampling
        self.cache = prompt_cache or kit.make_cache()
        self.cached_tokens = 0
        self.position = tokens_in(self.cache)
        self.error: Exception | None = None
        end = self.position + len(tokens)
        kit.structure.check_length(end + sampling.max_tokens)
        positions = range(self.position, end + sampling.max_tokens - 1)
        special = special_positions(kit, hooks, [tokens], self.position)
        self.recorder = Recorder(hooks, end, positions, budget_bytes, special)
        self._hooks = hooks
        self._changes = Interventions(interventions, kit.structure, end, positions)
        self._chunk = longest_pass(
            kit, hooks, self._changes, end, most=sampling.prefill_step_size, logits=1
        )
        self.visitors = self._changes.visitors()
        self.observation = Observation(kit.structure, self.visitors, self.recorder)
        self.is_long = is_long(kit.structure, len(tokens))
        self._reading = self.observation
        if self.is_long:
            visitors = in_steps(kit.structure, self.visitors, min(self._chunk, len(tokens)))
            self._reading = Observation(kit.structure, visitors, self.recorder)
        self.chooser = Chooser(sampling, self.tokens)
        self._text = TextStream(kit.tokenizer, self.tokens)
        self._stop = StopStrings(sampling.stop_strings)
        self._progress = progress or (lambda done, total: None)
        self._keeps_cache = prompt_cache is not None
        self._prefixes = None if self._keeps_cache else prefixes
        self.is_begun = self.is_read = False
        self._unread = self.tokens
        self._passes_left = sampling.max_tokens + self._keeps_cache
        self._positions = range(self.position, end)
        self._last = self.tokens[-1]
        self._generated: list[int] = []
        self._count = 0

    # the prompt

    @property
    def read(self) -> int:
        """How many tokens of the prompt have gone through the model."""
        return len(self.tokens) - len(self._unread)

    @property
    def last_token(self) -> mx.array:
        """The last token that is known: it has not gone through the model, ``[1]``."""
        return mx.array([self._last], mx.uint32)

    @property
    def reads_together(self) -> bool:
        """Whether a pass over what is left of its prompt can be that of other runs, too."""
        is_short = 1 < len(self._unread) <= self._chunk + 1
        return is_short and self.can_share and self.kit.reason_reads_apart is None

    @property
    def span(self) -> Span:
        """The positions of a pass with other runs: those of `to_read`, then that of one token."""
        return Span(self.position, len(self.to_read) or 1)

    @property
    def to_read(self) -> list[int]:
        """The tokens of the prompt that are left, but for the last."""
        return self._unread[:-1]

    def begin(self) -> None:
        """Begin with the caches of an earlier sequence, if there is one that begins alike."""
        self.is_begun = True
        self._progress(0, len(self.tokens))
        prefixes = self._usable_prefixes
        most = min(len(self.to_read), self.recorder.first, self._changes.first)
        found = prefixes.beginning(self.kit, self.tokens[:most]) if prefixes else None
        if found is not None:
            self.cache, self.cached_tokens = found
            self._has_read(self.cached_tokens)

    def report_progress(self) -> None:
        """Say again how much of the prompt has been read, at a point where others may run."""
        self._progress(self.read, len(self.tokens))

    def keep_prefix(self, cache: Callable[[], list]) -> None:
        """Keep a copy of this run's cache, for others that begin alike."""
        prefixes = self._usable_prefixes
        if prefixes and not self.visitors:
            tokens = [*self.tokens, *self._generated][: self.position]
            prefixes.keep(self.kit, tokens, cache)

    @property
    def _usable_prefixes(self) -> PrefixCache | None:
        """Those of earlier sequences, where the model can go on from one.

        A rotating cache of a limited size shows a pass over several tokens other keys, once it is
        full, than passes over each.
        """
        limit = self.kit.max_kv_size
        if self._prefixes is None or (limit is not None and len(self.tokens) > limit):
            return None
        return self._prefixes if self.kit.reason_read_anew is None else None

    def has_read(self, cache: list) -> None:
        """Go on with a cache that contains the prompt, but for its last token."""
        self.cache = cache
        self._has_read(len(self.to_read))

    def _has_read(self, count: int) -> None:
        """So many more tokens of the prompt are in the cache."""
        self.position += count
        self._unread = self._unread[count:]
        self.is_read = len(self._unread) == 1
        self.report_progress()
        if self.is_read:
            self.keep_prefix(lambda: self.cache)

    def read_prompt(self) -> int:
        """Run the pass over the next tokens of the prompt, up to the last one, which is left for
        a pass with other rows; returns how many they are."""
        chunk = self.to_read[: self._chunk]
        if chunk:
            with gaps_explained(), mx.stream(generation_stream):
                with self._reading.taps(), self._reading.watching():
                    self.kit.model(mx.array([chunk]), cache=self.cache)
                self.kit.quantise(self.cache)
                mx.eval([each.state for each in self.cache])
            mx.clear_cache()
        self._has_read(len(chunk))
        return len(chunk)

    # the passes over one token

    @property
    def needs_pass(self) -> bool:
        """Whether there is a token to come that no pass has been begun for."""
        return self._passes_left > 0

    def passed(self) -> None:
        """Count a pass over one token."""
        self.position += 1
        self._passes_left -= 1

    @property
    def can_share(self) -> bool:
        """Whether its passes can be those of other runs, too, and change nothing for them."""
        is_apart = self._keeps_cache or self.kit.kv_bits is not None or self._is_inside_attention
        return not is_apart and self.kit.reason_apart is None

    @property
    def _is_inside_attention(self) -> bool:
        """Whether attention has to be calculated in another way, for all rows of a pass, or is
        looked into where it may pick its keys, which fails."""
        points = [*self.visitors, *(self.recorder.marks if self.kit.picks_keys else ())]
        return any(point.component in KERNEL_COMPONENTS for point in points)

    # its results

    def result(self, step: Step) -> Generated:
        """What is to be said of the next token. Raises InterventionError in place of the last, if
        an intervention has not acted by then."""
        self._count += 1
        if self._count % GROWTH == 0:
            self.kit.footprint.check_growth(GROWTH)
        self._check_finite(step)
        before, self._last = self._last, step.token
        self._generated.append(step.token)
        if self._count == 1:
            self._progress(len(self.tokens), len(self.tokens))
        ended = step.token in self.kit.tokenizer.eos_token_ids
        is_last = ended or self._count == self.sampling.max_tokens
        piece = "" if ended else self._text.add(step.token)
        piece += self._text.finish() if is_last else ""
        text = self._stop.released(piece, is_last)
        stopped = ended or self._stop.found is not None
        reason: FinishReason | None = "stop" if stopped else "length" if is_last else None
        activations = records(self.recorder.take(self._positions))
        if self._count > 1:
            activations = without_special(self.kit, self._hooks, before, activations)
        activations = encoded(activations, self._hooks)
        if reason is not None:
            self._changes.check_done(self._positions.stop)
        self._positions = range(self._positions.stop, self._positions.stop + 1)
        result = GenerationResult(
            token=step.token,
            piece=piece,
            text=text,
            logprob=step.logprob,
            top_logprobs=token_choices(self.kit, step.likeliest),
            finish_reason=reason,
            prompt_tokens=len(self.tokens),
            completion_tokens=self._count,
            cached_tokens=self.cached_tokens,
            drafted=step.drafted,
            is_draft=step.is_draft,
        )
        return result, activations

    def _check_finite(self, step: Step) -> None:
        """Raise NotFiniteError for a step whose logits are not finite."""
        if not math.isfinite(step.logprob):
            visitors = self._changes.visitors(without_functions=True)
            raise not_finite(self.kit, [[*self.tokens, *self._generated]], visitors)


def check_passes(interventions: Sequence[AnyIntervention]) -> None:
    """Raise InterventionError for one that needs the whole sequence in a single pass."""
    if any(intervention.operation == "mean" for intervention in interventions):
        raise InterventionError(
            "mean cannot act in a generation, which runs the sequence in several passes: take the "
            "mean of a capture, and replace by it"
        )


def longest_pass(
    kit: ModelKit,
    hooks: Sequence[ResolvedHook],
    changes: Interventions,
    length: int,
    *,
    most: int,
    logits: int | None = None,
) -> int:
    """How many positions of a prompt that ends at `length` are run at once, and at most `most`.

    As many `logits` are calculated, None: one a position. Raises NotEnoughMemoryError.
    """
    points = {point for hook in hooks for point, _ in hook.points}
    return kit.footprint.longest_pass(
        1,
        length,
        kept=kit.footprint.of_captures(hooks, 1, length),
        logits=logits,
        looks_at_scores=looks_at_scores([*points, *changes.points]),
        most=most,
    )
