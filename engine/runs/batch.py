"""Generations that run together: each pass is over one token of each of them.

A run joins when its prompt has been read, and leaves with its last token, while the others go on.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import mlx.core as mx
from mlx_lm.generate import generation_stream

from engine.captures.prompts import PromptsRecorder
from engine.captures.rows import RowsRecorder
from engine.machine.gaps import gaps_explained
from engine.runs.choices import Choices, Step, choose
from engine.runs.kit import ModelKit
from engine.runs.results import Generated
from engine.runs.row_caches import RowCaches, read_together
from engine.runs.run import Run
from engine.taps.observation import Observation
from engine.taps.rows import failing, row_visitors

PROMPT_TOKENS = 256
"""Tokens of prompts after which the runs under way get their next token first."""
CACHED_TOKENS = 8192
"""Tokens in the caches of prompts that are read on together, at most, with their padding."""
PASSES = 256
"""Passes after which MLX gives unused memory back."""

Outcome = tuple[Run, Generated | Exception]
"""A run with its next token, or with the error that ended it."""


class Batch:
    """Runs of one model, for one thread. Those added beside another have to be of `can_share`.

    An error of one run ends that run alone; one of a pass itself ends all that it was for.
    """

    def __init__(self, kit: ModelKit):
        self._kit = kit
        self._runs: list[Run] = []
        self._rows: list[Run] = []
        self._caches = RowCaches()
        self._observation: Observation | None = None
        self._taps = ExitStack()
        self._wired = ExitStack()
        self._under_way = Pass([], None)
        self._passes = 0

    @property
    def runs(self) -> Sequence[Run]:
        """Those that have not ended."""
        return self._runs

    def add(self, run: Run) -> None:
        """Have a run join the others once its prompt has been read."""
        if not self._runs:
            self._wired.enter_context(self._kit.wired())
        self._runs.append(run)

    def remove(self, runs: Sequence[Run]) -> None:
        """End runs, before their time or at their end."""
        self._runs = [run for run in self._runs if run not in runs]
        self._keep([run for run in self._rows if run not in runs])
        if not self._runs:
            self._under_way = Pass([], None)
            self._wired.close()

    def close(self) -> None:
        """End all runs."""
        self.remove(self._runs)

    def advance(self, held: Collection[Run] = ()) -> list[Outcome]:
        """Read some of the prompts, then run a pass, while the tokens of the one before are read.

        Returns the outcomes of the pass before. The runs that are `held` wait.
        """
        going = [run for run in self._runs if run not in held]
        self._read_prompts([run for run in going if not run.is_read])
        before = self._under_way
        self._keep([run for run in going if run.is_read and run.needs_pass and not run.error])
        self._under_way = self._begun_after(before)
        outcomes = self._outcomes(before)
        self._end([run for run, outcome in outcomes if _is_last(outcome)])
        return outcomes

    def _end(self, runs: Sequence[Run]) -> None:
        """Remove runs that are over; those for which a pass has been begun leave their caches."""
        for place, run in enumerate(self._rows):
            if run in runs:
                self._leaves(place)
        self.remove(runs)

    def _leaves(self, place: int) -> None:
        """A row leaves its caches to others, whose prompts may begin with what it has."""
        run = self._rows[place]
        if not run.error:
            with failing(run):
                run.keep_prefix(lambda: self._caches.of(place))

    def _read_prompts(self, unread: list[Run]) -> None:
        """Read those first of which the least has been read: a short prompt passes a long one."""
        for run in unread:
            if not run.is_begun:
                with failing(run):
                    run.begin()
        unread = [run for run in unread if not (run.is_read or run.error)]
        read = self._read_together(unread) if len(unread) > 1 else 0
        unread = [run for run in unread if not (run.is_read or run.error)]
        while unread and read < PROMPT_TOKENS:
            run = min(unread, key=lambda each: each.read)
            with failing(run):
                read += run.read_prompt()
            if run.is_read or run.error:
                unread.remove(run)

    def _read_together(self, unread: Sequence[Run]) -> int:
        """Read some short prompts in one pass, the shortest first; returns how many tokens they
        are with their padding."""
        runs = _read_in_one_pass(unread)
        if len(runs) < 2:
            return 0
        visitors = row_visitors(runs, [run.visitors for run in runs])
        recorder = PromptsRecorder(runs, [run.recorder for run in runs])
        observation = Observation(self._kit.structure, visitors, recorder)
        try:
            with (
                gaps_explained(),
                mx.stream(generation_stream),
                observation.taps(),
                observation.watching(),
            ):
                caches = read_together(
                    self._kit.model,
                    [run.cache for run in runs],
                    [run.to_read for run in runs],
                    max(run.position for run in runs),
                )
            mx.clear_cache()
        except Exception as error:
            _fail(runs, error)
            return 0
        read = len(runs) * len(runs[-1].to_read)
        for run, cache in zip(runs, caches, strict=True):
            if not run.error:
                with failing(run):
                    run.has_read(cache)
        return read

    def _keep(self, rows: list[Run]) -> None:
        """Have these be the rows of the next passes; those that stay keep their order."""
        if rows == self._rows:
            return
        staying = [place for place, run in enumerate(self._rows) if run in rows]
        joining = [run for run in rows if run not in self._rows]
        for place, run in enumerate(self._rows):
            if run in self._runs and run not in rows and not run.error:
                if run.needs_pass:
                    run.cache = self._caches.of(place)  # it waits
                else:
                    self._leaves(place)
        self._caches.keep(staying)
        self._caches.join([run.cache for run in joining])
        self._rows = [*(self._rows[place] for place in staying), *joining]
        self._observe()

    def _observe(self) -> None:
        self._taps.close()
        self._observation = None
        if not self._rows:
            return
        self._caches.count(max(run.position for run in self._rows))
        if len(self._rows) == 1:
            self._observation = self._rows[0].observation
        else:
            visitors = row_visitors(self._rows, [run.visitors for run in self._rows])
            recorder = RowsRecorder(self._rows, [run.recorder for run in self._rows])
            self._observation = Observation(self._kit.structure, visitors, recorder)
        self._taps.enter_context(self._observation.taps())

    def _begun_after(self, before: "Pass") -> "Pass":
        """The next pass, begun over the tokens that the one before chose, which may not be there
        yet, and over the last tokens of new rows' prompts."""
        rows, choices = self._rows[:], None
        if rows:
            try:
                choices = self._begin(before.tokens_of(rows))
            except Exception as error:
                _fail(rows, error)
            for run in rows:
                run.passed()
            self._passes += 1
            if self._passes % PASSES == 0:
                mx.clear_cache()
        return Pass(rows, choices)

    def _begin(self, tokens: mx.array) -> Choices:
        assert self._observation is not None, "there are rows"
        caches = self._caches.layers
        with gaps_explained(), mx.stream(generation_stream):
            with self._observation.watching():
                logits = self._kit.model(tokens[:, None], cache=caches)[:, -1, :]
            self._kit.quantise(caches)
            choices = choose(self._rows, tokens, logits)
            choices.start()
        return choices

    def _outcomes(self, finished: "Pass") -> list[Outcome]:
        """The next token of each run of a pass, and the errors of all runs."""
        steps: dict[Run, Generated] = {}
        try:
            with gaps_explained():
                chosen = finished.steps()
        except Exception as error:
            _fail([*finished.rows, *self._rows], error)
            chosen = {}
        for run, step in chosen.items():
            if run in self._runs and not run.error:
                with failing(run):
                    steps[run] = run.result(step)
        return [(run, run.error or steps[run]) for run in self._runs if run.error or run in steps]


@dataclass(frozen=True)
class Pass:
    """A pass that has been begun, and its choices, of which there are none if it failed."""

    rows: list[Run]
    choices: Choices | None

    def tokens_of(self, rows: list[Run]) -> mx.array:
        """What this pass chose for some rows, ``[rows]``; of others the last that they know."""
        if self.choices is None:
            return mx.concatenate([run.last_token for run in rows])
        tokens = self.choices.tokens
        if rows == self.rows:
            return tokens
        place = {run: at for at, run in enumerate(self.rows)}
        return mx.concatenate(
            [
                tokens[place[run] : place[run] + 1] if run in place else run.last_token
                for run in rows
            ]
        )

    def steps(self) -> dict[Run, Step]:
        """What it chose for each run, once that is evaluated."""
        if self.choices is None:
            return {}
        return dict(zip(self.rows, self.choices.steps(), strict=True))


def _read_in_one_pass(unread: Sequence[Run]) -> list[Run]:
    """The runs whose prompts are read together, the shortest first: as many as are not too many
    tokens with their padding, of the pass and of the caches before it."""
    runs: list[Run] = []
    for run in sorted(unread, key=lambda each: (len(each.to_read), each.position)):
        if run.reads_together:
            count = len(runs) + 1
            cached = max(run.position, *(each.position for each in runs), 0)
            if runs and len(run.to_read) * count > PROMPT_TOKENS:
                break
            if count * cached <= CACHED_TOKENS:
                runs.append(run)
    return runs


def _fail(runs: Iterable[Run], error: Exception) -> None:
    for run in runs:
        run.error = run.error or error


def _is_last(outcome: Generated | Exception) -> bool:
    return isinstance(outcome, Exception) or outcome[0].finish_reason is not None
