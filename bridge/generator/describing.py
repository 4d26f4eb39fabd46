"""What a value may be, in a few words: for the comments of what sets it."""

from bridge.generator.api.schemas import Schema
from bridge.generator.text import plain

MAX_DESCRIPTION = 300
MAX_VALUES = 12


def sentence(text: str) -> str:
    """A text as one line that ends as a sentence does, cut where it is too long."""
    line = plain(text)
    if len(line) > MAX_DESCRIPTION:
        line = f"{line[:MAX_DESCRIPTION].rsplit(' ', 1)[0]} ..."
    return line if line.endswith((".", "?", "!")) else f"{line}."


def kind_of(schema: Schema | None) -> str:
    """The type of a value, its choices, limits and default, such as `integer, from 1 to 100`."""
    if schema is None:
        return "any value"
    said = [_type(schema), *_limits(schema)]
    if schema.enum is not None:
        values = [*schema.enum[:MAX_VALUES], *(["..."] if len(schema.enum) > MAX_VALUES else [])]
        said.append(f"one of {' '.join(values)}")
    if schema.default not in ("", "null"):
        said.append(f"{schema.default} if it is not given")
    return plain(", ".join(said))


def sample_type(schema: Schema | None) -> str:
    """The one type that an example of a value may have; `string` where that is not said."""
    names = sorted(schema.types - {"null"}) if schema else []
    return names[0] if names else "string"


def _type(schema: Schema) -> str:
    names = sorted(schema.types - {"null"})
    if names == ["array"]:
        inner = schema.items
        return f"array of {_name(inner)}" if inner and _name(inner) else "array"
    return _name(schema) or "any value"


def _name(schema: Schema) -> str:
    names = sorted(schema.types - {"null"})
    form = f" ({schema.format})" if schema.format else ""
    return f"{' or '.join(names)}{form}" if names else ""


def _limits(schema: Schema) -> list[str]:
    limits = schema.limits
    said = [
        f"{word} {limits[key]}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in limits
    ]
    return [" ".join(said)] if said else []
