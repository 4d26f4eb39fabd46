"""Bytes to JSON values: JSON or YAML, in any encoding of Unicode, with or without a mark."""

import json
import re
from typing import Any

import yaml

from bridge.generator.errors import DocumentError

MAX_VALUES = 20_000_000
"""How many values a document may have once its aliases are expanded."""


def parse(raw: bytes, source: str) -> Any:
    """The value of a JSON or YAML text. Raises DocumentError, naming `source`, if it is neither."""
    try:
        text = raw.decode(json.detect_encoding(raw)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DocumentError(source, f"not Unicode text ({error})") from error
    try:
        return json.loads(text)
    except ValueError as error:
        json_error = error
    except RecursionError as error:
        raise DocumentError(source, "nested too deeply") from error
    try:
        value = yaml.load(text, _Yaml)
        if "*" in text:
            _count(value, source, {}, set())
    except yaml.YAMLError as error:
        told = json_error if text.lstrip()[:1] in ("{", "[") else error
        raise DocumentError(source, f"neither JSON nor YAML ({told})") from error
    except RecursionError as error:
        raise DocumentError(source, "nested too deeply") from error
    return value


def _count(value: Any, source: str, sizes: dict[int, int], above: set[int]) -> int:
    """The number of values in a value, each alias counted; one within itself is an error."""
    if not isinstance(value, dict | list):
        return 1
    key = id(value)
    if key in above:
        raise DocumentError(source, "a YAML alias is within its own anchor")
    if key not in sizes:
        above.add(key)
        children = value.values() if isinstance(value, dict) else value
        sizes[key] = 1 + sum(_count(child, source, sizes, above) for child in children)
        above.remove(key)
        if sizes[key] > MAX_VALUES:
            raise DocumentError(source, f"its YAML aliases expand to over {MAX_VALUES} values")
    return sizes[key]


class _Yaml(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's JSON values: `no` and `2020-01-01` are text, and so is each key as written."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        found = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is not text", key.start_mark
                )
            found[key.value] = self.construct_object(value, deep=deep)
        return found

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_plain(self, node: yaml.Node) -> Any:
        """The value of a node with a tag of the document's own: the tag does not count."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_scalar(node)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    _Yaml.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )
_Yaml.add_constructor("tag:yaml.org,2002:int", _Yaml.construct_integer)
_Yaml.add_constructor("tag:yaml.org,2002:timestamp", _Yaml.construct_scalar)
_Yaml.add_constructor(None, _Yaml.construct_plain)
