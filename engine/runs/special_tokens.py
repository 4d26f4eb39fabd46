"""Tokens that are no text: beginnings, ends, and the markers of a chat's turns."""

from collections.abc import Sequence

from engine.captures.hooks import ResolvedHook
from engine.captures.records import Activations
from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit


def special_positions(
    kit: ModelKit, hooks: Sequence[ResolvedHook], batch: Sequence[Sequence[int]], first: int = 0
) -> frozenset[int]:
    """Where sequences that begin at position `first` have special tokens, if a hook excludes them.

    Raises InvalidRequestError for sequences that have them in different places.
    """
    if not any(hook.exclude_special_tokens for hook in hooks):
        return frozenset()
    found = {
        frozenset(first + place for place, each in enumerate(tokens) if each in kit.special_tokens)
        for tokens in batch
    }
    if len(found) > 1:
        raise InvalidRequestError(
            "exclude_special_tokens: the sequences of this batch have them at different "
            "positions; run each by itself"
        )
    return found.pop()


def without_special(
    kit: ModelKit, hooks: Sequence[ResolvedHook], token: int, activations: Activations
) -> Activations:
    """What a generated token's pass captured, without the hooks that exclude such a token."""
    excluding = {hook.hook_id for hook in hooks if hook.exclude_special_tokens}
    if not excluding or token not in kit.special_tokens:
        return activations
    return {name: records for name, records in activations.items() if name not in excluding}
