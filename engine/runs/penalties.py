"""OpenAI's penalties for tokens that a run has generated already."""

from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True)
class Penalties:
    """Lowers the logits of generated tokens, for mlx-lm's generation.

    A token that was generated c times, c > 0, loses ``presence + c * frequency``: the formula of
    OpenAI's API reference. The first `prompt` of the tokens that are passed with the logits are
    the prompt's, which count for nothing.
    """

    presence: float
    frequency: float
    prompt: int

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Return ``[1, vocab]`` logits of the token that comes after `tokens`, ``[seq]``."""
        generated = tokens[self.prompt :]
        if generated.size == 0:
            return logits
        penalised = logits.at[:, generated].subtract(self.frequency)  # once for each occurrence
        penalised[:, generated] = penalised[:, generated] - self.presence
        return penalised
