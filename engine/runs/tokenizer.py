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
        """The tokens that are no part of the trained vocabulary, special ones among them."""

    @property
    def has_chat_template(self) -> bool:
        """Whether chat messages can be rendered."""

    @property
    def chat_template(self) -> str | Mapping[str, str] | None:
        """The Jinja chat template, or several by name."""

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token's name."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Sequence[int]:
        """Return the token ids of a text."""

    def decode(self, tokens: list[int]) -> str:
        """Return the text of token ids."""

    def convert_ids_to_tokens(self, tokens: int) -> str | None:
        """Return a token's name in the vocabulary."""

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Return the id of a token's name; for an unknown one that of the unknown token, if any."""

    def apply_chat_template(
        self, messages: list[dict[str, Any]], *, add_generation_prompt: bool, **variables: Any
    ) -> Sequence[int]:
        """Return the token ids of chat messages."""
