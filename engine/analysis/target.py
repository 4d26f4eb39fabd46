"""A number that says how much of a behaviour a pass shows, to be differentiated or measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx

from engine.analysis.probabilities import log_probabilities
from engine.errors import InvalidRequestError, UnknownPositionError
from engine.runs.kit import ModelKit

TargetKind = Literal["logit", "logit_difference", "log_probability", "probability", "loss"]


@dataclass(frozen=True)
class Target:
    """A number of the logits at some positions of a prompt, the mean over these positions.

    - *logit*: the mean of the logits of `tokens`.
    - *logit_difference*: that, less the mean of the logits of `against`.
    - *log_probability*: the natural logarithm of the probability that one of `tokens` is next.
    - *probability*: that probability, less that of `against`, if there are any.
    - *loss*: the negative natural logarithm of the probability of the token that is next, in nats:
      the prompt's own next token, or of as many `tokens` as positions each.

    `positions` are those whose logits count, negative ones from the end; None is the last one, and
    for the loss all that have a next token.
    """

    kind: TargetKind = "logit"
    tokens: Sequence[int] = ()
    against: Sequence[int] = ()
    positions: Sequence[int] | None = None

    def check(self, kit: ModelKit, length: int) -> None:
        """Raise InvalidRequestError, UnknownPositionError for what a prompt of so many tokens
        cannot be asked for."""
        if self.kind not in get_args(TargetKind):
            known = ", ".join(get_args(TargetKind))
            raise InvalidRequestError(f"target: kind {self.kind!r} is none of {known}")
        if not self.tokens and self.kind != "loss":
            raise InvalidRequestError(f"target: a {self.kind} is of at least one token")
        if self.kind == "logit_difference" and not self.against:
            raise InvalidRequestError("target: a logit_difference is against at least one token")
        if self.against and self.kind not in ("logit_difference", "probability"):
            raise InvalidRequestError(f"target: a {self.kind} is against nothing")
        for tokens in (self.tokens, self.against):
            if tokens:
                kit.check_tokens([tokens])
        shared = [token for token in self.tokens if token in self.against]
        if shared:
            raise InvalidRequestError(f"target: the token {shared[0]} is on both sides")
        places = self.places(length)
        if self.kind != "loss":
            return
        if self.tokens and len(self.tokens) != len(places):
            raise InvalidRequestError(
                f"target: a loss at {len(places)} positions has as many tokens, "
                f"not {len(self.tokens)}"
            )
        if not self.tokens and (not places or max(places) == length - 1):
            raise InvalidRequestError(
                "target: the last position has no next token in the prompt; say it in tokens"
            )

    def places(self, length: int) -> list[int]:
        """The positions, from the start."""
        if self.positions is None:
            if self.kind == "loss" and not self.tokens:
                return list(range(length - 1))
            return [length - 1]
        for position in self.positions:
            if not -length <= position < length:
                raise UnknownPositionError(
                    f"target: position {position}: the prompt has positions 0 to {length - 1}"
                )
        if not self.positions:
            raise InvalidRequestError("target: at least one position is needed")
        return [position % length for position in self.positions]

    def scores(self, logits: mx.array, prompt: Sequence[int]) -> mx.array:
        """The number of each row of ``[batch, positions, vocab]``, ``[batch]`` in float32."""
        places = self.places(logits.shape[1])
        chosen = logits[:, mx.array(places)].astype(mx.float32)
        if self.kind == "loss":
            following = list(self.tokens) or [prompt[place + 1] for place in places]
            index = mx.broadcast_to(mx.array(following)[None, :, None], (*chosen.shape[:2], 1))
            return -mx.take_along_axis(log_probabilities(chosen), index, -1)[..., 0].mean(1)
        if self.kind in ("logit", "logit_difference"):
            found = chosen[..., mx.array(list(self.tokens))].mean(-1)
            if self.against:
                found = found - chosen[..., mx.array(list(self.against))].mean(-1)
            return found.mean(1)
        logs = log_probabilities(chosen)
        if self.kind == "log_probability":
            return mx.logsumexp(logs[..., mx.array(list(self.tokens))], -1).mean(1)
        found = mx.exp(logs[..., mx.array(list(self.tokens))]).sum(-1)
        if self.against:
            found = found - mx.exp(logs[..., mx.array(list(self.against))]).sum(-1)
        return found.mean(1)
