"""Hashes of what a document means: not of its bytes, its order, or its explanations."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.api.references import Node
from bridge.generator.errors import DocumentError

TEXT_ALONE = frozenset(("description", "example", "examples", "externalDocs", "title", "$comment"))
"""Keywords that explain and change nothing for a client."""
NAMES = frozenset(
    (
        *("properties", "patternProperties", "$defs", "definitions", "schemas", "headers"),
        *("variables", "encoding"),
    )
)
"""Keywords whose object has names of the document's own as its keys."""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of_meaning(value: Any) -> str:
    """The hash of a JSON value without its explanations, whatever the order of its members."""
    return digest(json.dumps(_meaning(value), sort_keys=True, default=str).encode())


@dataclass(frozen=True)
class Meaning:
    """The hash of an operation or a part of a document, and the places that it refers to."""

    digest: str
    parts: tuple[str, ...]


class Digests:
    """The hashes of an API's operations and, by their place, of the parts that they refer to."""

    def __init__(self, api: Api) -> None:
        self.document = digest_of_meaning(api.node.value)
        self.parts: dict[str, Meaning] = {}
        self.operations = {each.route: self._operation(each) for each in api.operations}

    def _operation(self, operation: Operation) -> Meaning:
        inherited = [(p.pointer, p.key, p.required) for p in operation.parameters]
        said = [operation.node.value, operation.summary, *inherited]
        targets = _targets(operation.node)
        self._note([*targets.items()])
        return Meaning(digest_of_meaning(said), tuple(sorted(targets)))

    def _note(self, waiting: list[tuple[str, Node]]) -> None:
        """Take down these parts and all that they refer to."""
        while waiting:
            place, node = waiting.pop()
            if place not in self.parts:
                targets = _targets(node)
                self.parts[place] = Meaning(digest_of_meaning(node.value), tuple(sorted(targets)))
                waiting += targets.items()


def _targets(node: Node) -> dict[str, Node]:
    """The parts that a node refers to, by their place; references to nothing left out."""
    found = {}
    for each in node.referenced():
        try:
            target = node.documents.target(each, str(each.reference))
        except DocumentError:
            continue
        found[target.where] = target
    return found


def _meaning(value: Any, names: bool = False) -> Any:
    if isinstance(value, list):
        return [_meaning(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _meaning(each, not names and key in NAMES)
        for key, each in value.items()
        if names or key not in TEXT_ALONE
    }
