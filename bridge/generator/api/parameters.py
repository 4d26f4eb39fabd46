"""Parameters: where each travels and how its value is written."""

from dataclasses import dataclass, field

from bridge.generator.api.references import Node
from bridge.generator.api.schemas import Schema, schema_at
from bridge.generator.errors import DocumentError

DEFAULT_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form", "cookie"),
}
PLACES = (*DEFAULT_STYLES, "querystring")
IGNORED_HEADERS = frozenset(("accept", "content-type", "authorization"))
"""Headers that the specification lets no parameter set."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; `content` is the media type that its value is written in, if it has one."""

    name: str
    place: str
    required: bool
    style: str
    explode: bool
    schema: Schema | None
    content: str | None = None
    allow_reserved: bool = False
    deprecated: bool = False
    description: str = ""
    pointer: str = field(default="", compare=False)
    node: Node | None = field(default=None, repr=False, compare=False)

    @property
    def explodes_names(self) -> bool:
        """Whether it may travel under other names than its own: those of an object's members."""
        kinds = self.schema.types - {"null"} if self.schema else frozenset()
        return self.place in ("query", "cookie") and (
            self.style == "deepObject" or (self.explode and (not kinds or "object" in kinds))
        )

    @property
    def key(self) -> tuple[str, str]:
        """What tells parameters of one operation apart."""
        return (self.place, self.name)


def parameters_of(path_item: Node, operation: Node) -> dict[tuple[str, str], Parameter]:
    """An operation's parameters and those of its path that it does not replace, by their key."""
    found = {}
    for holder in (path_item, operation):
        for node in holder.items("parameters"):
            parameter = _parameter(node.resolved())
            if parameter.place != "header" or parameter.name.lower() not in IGNORED_HEADERS:
                found[parameter.key] = parameter
    return found


def undeclared(name: str, pointer: str) -> Parameter:
    """The parameter of a path template that nothing declares: a text."""
    return Parameter(name, "path", True, "simple", False, None, pointer=pointer)


def _parameter(node: Node) -> Parameter:
    name, place = node.text("name"), node.text("in")
    if not name:
        raise DocumentError(node.where, "a parameter without a name")
    if place not in PLACES:
        raise DocumentError(node.where, f"a parameter in a {place or None}: {name}")
    style = node.text("style") or DEFAULT_STYLES.get(place, "")
    if place in STYLES and style not in STYLES[place]:
        raise DocumentError(node.where, f"the style {style!r} in a {place}: {name}")
    schema = node.get("schema")
    explode = node.get("explode")
    return Parameter(
        name=name,
        place=place,
        required=place == "path" or node.flag("required"),
        style=style,
        explode=style in ("form", "cookie") if explode is None else explode.value is True,
        schema=schema_at(schema) if schema else None,
        content=next(iter(node.entries("content")), None),
        allow_reserved=node.flag("allowReserved"),
        deprecated=node.flag("deprecated"),
        description=node.text("description"),
        pointer=node.where,
        node=node,
    )
