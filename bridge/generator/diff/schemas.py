"""What changed in a schema, at any depth, and what that means to one who sends or is sent it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.generator.api.schemas import Schema
from bridge.generator.diff.changes import Severity

Found = tuple[Severity, str, str]
"""A severity, a place and what changed there."""
ANY = frozenset(("array", "boolean", "null", "number", "object", "string"))


@dataclass
class SchemaDiff:
    """The changes of schemas in one direction; what was compared once is not compared again.

    `sent` says that callers send such values: then it breaks them if fewer values fit. If they
    are sent such values, it breaks them if others come than before.
    """

    sent: bool
    _compared: set[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=set)

    def compare(self, old: Schema | None, new: Schema | None, place: str) -> Iterator[Found]:
        """The changes from one schema to another; None is a schema that nothing is said of."""
        if old is None or new is None:
            if old is not new:
                yield (
                    self._narrower(new is not None),
                    place,
                    "its type is " + (f"{_named(new)} now" if new else "not said any more"),
                )
            return
        pair = (old.identity, new.identity)
        if pair in self._compared:
            return
        self._compared.add(pair)
        yield from self._types(old, new, place)
        yield from self._enum(old, new, place)
        yield from self._limits(old, new, place)
        yield from self._members(old, new, place)
        yield from self._children(old, new, place)
        yield from self._variants(old, new, place)
        yield from _words(old, new, place)

    def _narrower(self, fewer_fit: bool) -> Severity:
        """What it means that fewer values fit than before, or more."""
        return Severity.BREAKING if fewer_fit == self.sent else Severity.COMPATIBLE

    def _types(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        before, after = _types(old), _types(new)
        if before != after:
            text = f"{_named(old)} became {_named(new)}"
            if before < after or after < before:
                yield self._narrower(after < before), place, text
            else:
                yield Severity.BREAKING, place, text
        elif old.format != new.format:
            text = f"the format {old.format or 'none'} became {new.format or 'none'}"
            yield Severity.BREAKING, place, text

    def _enum(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        before, after = old.enum, new.enum
        if before == after:
            return
        if before is None or after is None:
            text = "only some values may be now" if before is None else "any value may be now"
            yield self._narrower(before is None), place, text
            return
        for value in sorted({*before} - {*after}):
            yield self._narrower(True), place, f"{value} is no longer a value"
        for value in sorted({*after} - {*before}):
            # A new value among those that come is what a caller must expect of any enum.
            yield Severity.COMPATIBLE, place, f"{value} is a new value"

    def _limits(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        for key in sorted({*old.limits} | {*new.limits}):
            before, after = old.limits.get(key), new.limits.get(key)
            if before != after:
                lower = "min" in key.lower()
                tighter = before is None or (
                    after is not None and (after > before if lower else after < before)
                )
                text = f"{key} is {after}, not {before}"
                yield self._narrower(tighter), place, text.replace("None", "not limited")
        for key in sorted({*old.rules} | {*new.rules}):
            if key != "const" and old.rules.get(key) != new.rules.get(key):
                text = f"{key} is {new.rules.get(key)!r}, not {old.rules.get(key)!r}"
                yield self._narrower(key in new.rules), place, text

    def _members(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        for name in old.properties:
            if name not in new.properties:
                yield Severity.BREAKING, _below(place, name), "removed"
        for name in new.properties:
            where = _below(place, name)
            if name not in old.properties:
                needed = self.sent and name in new.required
                severity = Severity.BREAKING if needed else Severity.COMPATIBLE
                yield severity, where, "added, and required" if needed else "added"
            elif (name in old.required) != (name in new.required):
                required = name in new.required
                yield (
                    self._narrower(required),
                    where,
                    ("required now" if required else "optional now"),
                )
        closed = new.additional is False and old.additional is not False
        opened = old.additional is False and new.additional is not False
        if closed or opened:
            text = "no further fields may be now" if closed else "further fields may be now"
            severity = self._narrower(True) if closed else Severity.COMPATIBLE
            yield severity, place, text

    def _children(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        for name, schema in old.properties.items():
            if name in new.properties:
                yield from self.compare(schema, new.properties[name], _below(place, name))
        if "array" in _types(old) & _types(new):
            yield from self.compare(old.items, new.items, f"{place}[]")
        if isinstance(old.additional, Schema) and isinstance(new.additional, Schema):
            yield from self.compare(old.additional, new.additional, f"{place}{{}}")

    def _variants(self, old: Schema, new: Schema, place: str) -> Iterator[Found]:
        before = {_variant(schema): schema for schema in old.variants}
        after = {_variant(schema): schema for schema in new.variants}
        if not before and not after:
            return
        lost = [name for name in before if name not in after]
        come = [name for name in after if name not in before]
        pairs = [(before[name], after[name], name) for name in before if name in after]
        if len(lost) == len(come) and not any(_is_named(before[name]) for name in lost):
            # What has no name is the same variant in the same order, changed.
            pairs += [(before[x], after[y], y) for x, y in zip(lost, come, strict=True)]
            lost, come = [], []
        for one, other, name in pairs:
            yield from self.compare(one, other, f"{place}<{name}>")
        for name in lost:
            yield self._narrower(bool(after)), place, f"{name} is no longer one of its variants"
        for name in come:
            yield self._narrower(not before), place, f"{name} is a new variant"


def _words(old: Schema, new: Schema, place: str) -> Iterator[Found]:
    if old.deprecated != new.deprecated:
        text = "deprecated" if new.deprecated else "no longer deprecated"
        yield Severity.COMPATIBLE, place, text
    if old.default != new.default:
        yield Severity.COMPATIBLE, place, f"the default is {new.default}, not {old.default}"
    if old.description != new.description:
        yield Severity.TEXT, place, "described differently"


def _types(schema: Schema) -> frozenset[str]:
    """The JSON types; an integer is a number, and where nothing is said every type may be."""
    if schema.never:
        return frozenset()
    found = schema.types or ANY
    if "integer" in found:
        return (found | {"whole number"}) - {"integer"}
    return found | {"whole number"} if "number" in found else found


def _named(schema: Schema) -> str:
    if schema.never:
        return "no value at all"
    return " or ".join(sorted(schema.types)) or "any value"


def _is_named(schema: Schema) -> bool:
    return not schema.node.pointer.rsplit("/", 1)[-1].isdigit() or bool(schema.node.text("title"))


def _variant(schema: Schema) -> str:
    """What tells a variant from the others: its name in the document, else what it has."""
    last = schema.node.pointer.rsplit("/", 1)[-1]
    if not last.isdigit():
        return last
    members = ", ".join(schema.properties)
    content = f"{_named(schema)}{f' with {members}' if members else ''}"
    return schema.node.text("title") or (content if len(content) < 60 else f"{content[:60]}...")


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
