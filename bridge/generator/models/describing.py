"""Types of schemas in the words of a comment, whether or not they have a class."""

from bridge.generator.api.schemas import Schema
from bridge.generator.text import plain

MAX_FIELDS = 12
NAMES = {
    "string": "String",
    "integer": "Integer",
    "number": "Number",
    "boolean": "Boolean",
    "object": "record",
    "array": "Array",
}
FORMATS = {"date": "Date", "date-time": "Timestamp", "byte": "ByteArray"}


def type_name(schema: Schema | None) -> str:
    """The Smalltalk type of a JSON value, without a class of its own."""
    if schema is None or not schema.types:
        return "Object"
    if "array" in schema.types and schema.items:
        return f"Array of {type_name(schema.items)}"
    names = [NAMES[t] for t in sorted(schema.types) if t in NAMES]
    return " | ".join(names) or "nil"


def fields_text(schema: Schema | None) -> str:
    """The fields of an object, or of the elements of an array; empty if none are declared."""
    while schema is not None and not schema.properties and schema.items:
        schema = schema.items
    if schema is None or not schema.properties:
        return ""
    listed = [
        f"{plain(name)} <{type_name(member)}>"
        for name, member in list(schema.properties.items())[:MAX_FIELDS]
    ]
    more = len(schema.properties) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")
