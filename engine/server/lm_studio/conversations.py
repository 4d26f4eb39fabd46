"""Conversations that a later request may continue by the id of a reply."""

from collections import OrderedDict
from threading import Lock
from uuid import uuid4

from engine.contract.schemas import ChatMessage
from engine.server.errors import UnknownResponseError

MOST_KEPT = 1000
Conversation = tuple[ChatMessage, ...]


class Conversations:
    """The newest thousand replies, each with all messages up to it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Conversation] = OrderedDict()
        self._lock = Lock()

    def keep(self, conversation: Conversation) -> str:
        """Keep one; returns the id of its last reply."""
        response_id = f"resp_{uuid4().hex}"
        with self._lock:
            self._kept[response_id] = conversation
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return response_id

    def get(self, response_id: str) -> Conversation:
        """The messages up to a reply. Raises UnknownResponseError."""
        with self._lock:
            if response_id not in self._kept:
                raise UnknownResponseError(
                    f"previous_response_id: no reply {response_id!r} is kept; the newest "
                    f"{MOST_KEPT} are, unless `store` is false.",
                    "previous_response_id",
                )
            return self._kept[response_id]
