"""What the comment of an operation's method says."""

from bridge.generator.api.operations import Operation
from bridge.generator.text import plain

MAX_COMMENT = 300


def comment_of(operation: Operation) -> str:
    """A sentence: what the document says that the operation does."""
    text = plain(operation.summary or operation.description or operation.route)
    if len(text) > MAX_COMMENT:
        text = f"{text[:MAX_COMMENT].rsplit(' ', 1)[0]} ..."
    return text if text.endswith((".", "?", "!")) else f"{text}."
