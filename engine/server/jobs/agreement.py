"""What ranks that run the same jobs need to have alike: the first decides, the others follow."""

from typing import Any, Protocol

Key = tuple[int, int]
"""A job's name on all ranks: the number of its request, and its own number in that."""


class Agreement(Protocol):
    """How ranks go the same way. `leads` says whether this one decides, as it does alone."""

    leads: bool

    def agree(self, what: str, value: Any) -> Any:
        """What the first rank has for something; each rank has to ask at the same point."""


class _Alone:
    """One process decides for itself."""

    leads = True

    def agree(self, what: str, value: Any) -> Any:
        return value


ALONE = _Alone()
