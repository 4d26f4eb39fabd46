"""Schemas of versions 3.0 to 3.2, read as far as a client depends on them."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bridge.generator.api.references import Node
from bridge.generator.errors import DocumentError

LIMITS = (
    "minimum",
    "exclusiveMinimum",
    "minLength",
    "minItems",
    "minProperties",
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
)
OTHER_RULES = ("pattern", "multipleOf", "uniqueItems", "const")


@dataclass(frozen=True)
class Schema:
    """What a value may be; `node` is where that is said, behind all references.

    Its parts are read when they are asked for, so a schema may contain itself. A schema that a
    reference leads to nowhere for is any value at all, and `broken` says why.
    """

    node: Node
    broken: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """The same for the same place, by whichever way it was come to."""
        return (self.node.document, self.node.pointer)

    @property
    def never(self) -> bool:
        """Whether no value at all fits: the schema is false."""
        return self.node.value is False

    @cached_property
    def types(self) -> frozenset[str]:
        """The JSON types that may be, `null` among them; empty if any may be."""
        found = self._types(set())
        nullable = any(part.node.flag("nullable") or part._has_null for part in self.parts)
        return found | {"null"} if found and nullable else found

    @property
    def format(self) -> str:
        found = self._value("format")
        return found if isinstance(found, str) else ""

    @property
    def description(self) -> str:
        return self.node.text("description") or self.node.text("title")

    @property
    def deprecated(self) -> bool:
        return self.node.flag("deprecated")

    @property
    def default(self) -> str:
        """The value that counts if none is sent, as JSON; empty if there is none."""
        if "default" not in self._keys:
            return ""
        return json.dumps(self._value("default"), sort_keys=True, default=str)

    @cached_property
    def examples(self) -> tuple[Any, ...]:
        """The example that is given, or those that are, or else the default."""
        if "example" in self._keys:
            return (self._value("example"),)
        given = self._value("examples")
        if isinstance(given, list) and given:
            return tuple(given)
        return (self._value("default"),) if "default" in self._keys else ()

    @cached_property
    def enum(self) -> tuple[str, ...] | None:
        """The values that may be, as JSON; None if that is not limited."""
        if "const" in self._keys:
            return (json.dumps(self._value("const"), sort_keys=True, default=str),)
        given = self._value("enum")
        if not isinstance(given, list):
            return None
        return tuple(json.dumps(value, sort_keys=True, default=str) for value in given)

    @cached_property
    def limits(self) -> dict[str, float]:
        """The numeric limits by their keyword."""
        found = {key: self._value(key) for key in LIMITS}
        return {
            key: value
            for key, value in found.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    @cached_property
    def rules(self) -> dict[str, Any]:
        """What else limits a value, by keyword."""
        return {key: self._value(key) for key in OTHER_RULES if key in self._keys}

    @cached_property
    def properties(self) -> "dict[str, Schema]":
        """The members that an object is said to have, by name, those of `allOf` included."""
        found: dict[str, Schema] = {}
        for part in self.parts:
            for name, node in part._entries("properties").items():
                found.setdefault(name, schema_at(node))
        return found

    @cached_property
    def required(self) -> frozenset[str]:
        """The members that an object must have."""
        return frozenset(
            text for part in self.parts for text in part._list("required") if isinstance(text, str)
        )

    @cached_property
    def items(self) -> "Schema | None":
        """What the elements of an array are; None if nothing is said of them."""
        nodes = [part.node.get("items") for part in self.parts]
        node = next((node for node in nodes if node and _is_schema(node.value)), None)
        return schema_at(node) if node else None

    @cached_property
    def additional(self) -> "Schema | bool":
        """What further members of an object are; true if anything, false if there are none."""
        nodes = [part.node.get("additionalProperties") for part in self.parts]
        said = [
            node for node in nodes if node and _is_schema(node.value) and node.value is not True
        ]
        if any(node.value is False for node in said):
            return False
        return schema_at(said[0]) if said else True

    @cached_property
    def variants(self) -> "tuple[Schema, ...]":
        """What `oneOf` and `anyOf` list, if that is more than one schema beside null."""
        found = [members for part in self.parts for members in part._alternatives]
        return tuple(schema for members in found if len(members) > 1 for schema in members)

    @cached_property
    def parts(self) -> "tuple[Schema, ...]":
        """This schema and all whose rules count too, each once.

        These are the members of `allOf`, and that of a `oneOf` or `anyOf` with one beside null.
        """
        found: dict[tuple[str, str], Schema] = {}
        stack = [self]
        while stack:
            part = stack.pop()
            if part.identity not in found:
                found[part.identity] = part
                stack += [members[0] for members in part._alternatives if len(members) == 1]
                stack += reversed(part._schemas("allOf"))
        return tuple(found.values())

    @cached_property
    def _alternatives(self) -> "list[list[Schema]]":
        """The members of `oneOf` and of `anyOf` that are not just null."""
        lists = [self._schemas(key) for key in ("oneOf", "anyOf")]
        return [[each for each in members if not each._is_null] for members in lists]

    @property
    def _is_null(self) -> bool:
        return isinstance(self.node.value, dict) and self.node.value.get("type") == "null"

    @property
    def _has_null(self) -> bool:
        return any(each._is_null for each in self._schemas("oneOf") + self._schemas("anyOf"))

    def _types(self, seen: set[tuple[str, str]]) -> frozenset[str]:
        """The types that are said here, else those of the variants."""
        given = self._value("type")
        listed = given if isinstance(given, list) else [given]
        found = frozenset(text for text in listed if isinstance(text, str))
        if not found and (self.properties or isinstance(self.additional, Schema)):
            found = frozenset(["object"])
        if found or self.identity in seen:
            return found
        seen.add(self.identity)
        variants = [variant._types(seen) for variant in self.variants]
        return frozenset().union(*variants) if all(variants) else frozenset()

    # What has a value of another kind than it should is as if it were not there: the document's
    # breach of the specification has been said already, and any value may be.

    def _list(self, key: str) -> list[Any]:
        found = self.node.value.get(key) if isinstance(self.node.value, dict) else None
        return found if isinstance(found, list) else []

    def _entries(self, key: str) -> dict[str, Node]:
        node = self.node.get(key)
        if node is None or not isinstance(node.value, dict):
            return {}
        return {name: node.child(name) for name, v in node.value.items() if _is_schema(v)}

    def _schemas(self, key: str) -> "list[Schema]":
        node = self.node.get(key)
        if node is None or not isinstance(node.value, list):
            return []
        return [schema_at(node.child(i)) for i, v in enumerate(node.value) if _is_schema(v)]

    @cached_property
    def _keys(self) -> frozenset[str]:
        values = [part.node.value for part in self.parts]
        return frozenset(key for value in values if isinstance(value, dict) for key in value)

    def _value(self, key: str) -> Any:
        """What is first said by a keyword, here or in what counts too."""
        values = [part.node.value for part in self.parts]
        return next(
            (v[key] for v in values if isinstance(v, dict) and v.get(key) is not None), None
        )


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def schema_at(node: Node) -> Schema:
    """The schema at a place, its reference followed."""
    try:
        found = node.resolved()
    except DocumentError as error:
        anything = Node(node.documents, node.document, node.pointer, True)
        return Schema(anything, broken=error.problem)
    return Schema(found)
