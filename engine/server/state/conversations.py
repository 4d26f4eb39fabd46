"""Conversations that a later request may continue by the id of a reply."""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from engine.contract.schemas import ChatMessage
from engine.server.errors import UnknownResponseError
from engine.server.identifiers import new_id

MOST_KEPT = 1000
Conversation = tuple[ChatMessage, ...]


class Conversations:
    """The newest thousand replies, each with all messages up to it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Conversation] = OrderedDict()
        self._lock = Lock()

    def keep(self, response_id: str, conversation: Conversation) -> None:
        """Keep one under the id of its last reply."""
        with self._lock:
            self._kept[response_id] = conversation
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def get(self, response_id: str | None) -> Conversation:
        """The messages up to a reply; none up to None. Raises UnknownResponseError."""
        if response_id is None:
            return ()
        with self._lock:
            if response_id not in self._kept:
                raise UnknownResponseError(
                    f"previous_response_id: no reply {response_id!r} is kept; the newest "
                    f"{MOST_KEPT} are, unless `store` is false.",
                    "previous_response_id",
                )
            return self._kept[response_id]


def new_response_id() -> str:
    """An id that no other reply has."""
    return f"resp_{new_id()}"


def continued(
    earlier: Conversation, system: str | None, new: Iterable[ChatMessage]
) -> Conversation:
    """A conversation with new messages; a system's message takes the place of an earlier one."""
    if system is not None:
        others = (each for each in earlier if each.role != "system")
        earlier = (ChatMessage(role="system", content=system), *others)
    return (*earlier, *new)
