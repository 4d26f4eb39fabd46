"""A tiny model that reads text, a token a character, and texts for it."""

import random

from tiny import Numbers, tiny_kit

from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve

LETTERS = "abcdefghijklmnopqrstuvwxyz \n"
VOCABULARY = 48


class Characters(Numbers):
    """A token a character, by its number; texts begin with token 1."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [1] * add_special_tokens + [2 + ord(each) % (VOCABULARY - 2) for each in text]


def reading_kit() -> ModelKit:
    kit = tiny_kit()
    return ModelKit(kit.model, Characters(), {}, "tiny", None, resolve(kit.model))


def letters(count: int, seed: int = 0) -> str:
    """Random text of so many characters."""
    return "".join(random.Random(seed).choices(LETTERS, k=count))
