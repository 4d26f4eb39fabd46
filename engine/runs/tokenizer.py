"""What the engine asks of a tokenizer: mlx-lm's wrapper of transformers' has it all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """Text to token ids and back."""

    @property
    def eos_token_ids(self) -> Iterable[int]:
        """The tokens that end a text."""

    @property
    def all_special_ids(self) -> Iterable[int]:
        """The tokens that the tokenizer has a name for, such as that of the beginning."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """What was added to the vocabulary: of each token, among others whether it is `special`."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Sequence[int]:
        """Return the token ids of a text."""

    def decode(self, tokens: list[int]) -> str:
        """Return the text of token ids."""

    def convert_ids_to_tokens(self, tokens: int) -> str:
        """Return a token's name in the vocabulary."""

    def apply_chat_template(
        self, messages: list[dict[str, Any]], *, add_generation_prompt: bool
    ) -> Sequence[int]:
        """Return the token ids of chat messages."""
