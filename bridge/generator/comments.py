"""What the comment of an operation's method says."""

from bridge.generator.api.operations import Operation
from bridge.generator.api.schemas import Schema
from bridge.generator.models.describing import fields_text, type_name
from bridge.generator.models.model import Type
from bridge.generator.text import plain

MAX_COMMENT = 300


def comment_of(operation: Operation) -> str:
    """A sentence: what the document says that the operation does."""
    text = plain(operation.summary or operation.description or operation.route)
    if len(text) > MAX_COMMENT:
        text = f"{text[:MAX_COMMENT].rsplit(' ', 1)[0]} ..."
    return text if text.endswith((".", "?", "!")) else f"{text}."


def fields_comment_of(operation: Operation, answer: Type | None = None) -> str:
    """Sentences on the fields of what is sent and of what is answered; `answer` is its class."""
    body = operation.body.json if operation.body else None
    sent = fields_text(body.schema if body else None)
    said = [f"The body is {_shape(body.schema)} {sent}."] if body and sent else []
    return " ".join([*said, _answered(operation, answer)])


def _answered(operation: Operation, answer: Type | None) -> str:
    if answer:
        return f"Answer <{answer.text}>."
    found = operation.json_answer
    if found is None:
        contents = any(response.contents for response in operation.successes)
        kinds = {"text": "a String", "bytes": "a ByteArray", "value": "what its media type says"}
        return f"Answer {kinds[operation.answer_kind] if contents else 'nil'}."
    fields = fields_text(found.schema)
    return f"Answer {_shape(found.schema)} {fields}." if fields else f"Answer {_any(found.schema)}."


def _shape(schema: Schema | None) -> str:
    is_list = schema is not None and "array" in schema.types
    return "an Array of records of" if is_list else "a record of"


def _any(schema: Schema | None) -> str:
    return f"<{type_name(schema)}>"
