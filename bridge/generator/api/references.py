"""Places in a document, and where their references lead: `referencing` follows them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

import httpx
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable

from bridge.generator.api.reading import parse
from bridge.generator.errors import DocumentError


@dataclass
class Documents:
    """The documents that one document leads to, each read once."""

    root: str
    allow_remote: bool = False
    _failures: dict[str, str] = field(default_factory=dict)
    _contents: dict[str, Any] = field(default_factory=dict)
    _targets: dict[tuple[str, str], "Node"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._registry: Registry[Any] = Registry(retrieve=self._retrieve)  # type: ignore[call-arg]

    def start(self) -> "Node":
        """The whole root document. Raises DocumentError if it cannot be read."""
        try:
            self._contents[self.root] = parse(fetch(self.root), self.root)
        except DocumentError as error:
            raise DocumentError(readable(self.root), error.problem) from error
        return Node(self, self.root, "#", self._contents[self.root])

    def target(self, node: "Node", reference: str) -> "Node":
        """The place that a reference leads to. Raises DocumentError if it leads nowhere."""
        key = (node.document, reference)
        if key not in self._targets:
            self._targets[key] = self._lookup(node, reference)
        return self._targets[key]

    def _lookup(self, node: "Node", reference: str) -> "Node":
        base = Resource.opaque(self._contents[node.document])
        registry = self._registry.with_resource(node.document, base)
        try:
            found = registry.resolver(node.document).lookup(reference)
        except (Unresolvable, ValueError, TypeError) as error:
            uri = self._joined(node.document, reference)
            why = self._failures.get(uri, "there is no such place")
            raise DocumentError(
                node.where, f"a reference to nothing: {reference} ({why})"
            ) from error
        fragment = urldefrag(reference).fragment
        pointer = f"#{unquote(fragment)}"
        return Node(self, self._joined(node.document, reference), pointer, found.contents)

    @staticmethod
    def _joined(base: str, reference: str) -> str:
        return urldefrag(urljoin(base, reference)).url

    def _retrieve(self, uri: str) -> Resource[Any]:
        try:
            if not uri.startswith("file:") and not self.allow_remote:
                raise DocumentError(uri, "it is another host's: --allow-remote-refs reads it")
            if uri.startswith("file:") and not self.root.startswith("file:"):
                raise DocumentError(uri, "a document from the network names a file")
            if uri not in self._contents:
                self._contents[uri] = parse(fetch(uri), readable(uri))
        except DocumentError as error:
            self._failures[uri] = error.problem
            raise NoSuchResource(ref=uri) from error  # type: ignore[call-arg]
        return Resource.opaque(self._contents[uri])


@dataclass(frozen=True)
class Node:
    """A value and its place: `document` is an address, `pointer` a JSON pointer behind a `#`."""

    documents: Documents = field(repr=False, compare=False)
    document: str
    pointer: str
    value: Any = field(repr=False, compare=False)

    @property
    def where(self) -> str:
        """The place as a user reads it: the pointer, behind the name of any other document."""
        if self.document == self.documents.root:
            return self.pointer
        return readable(self.document).rsplit("/", 1)[-1] + self.pointer

    def child(self, key: str | int) -> "Node":
        """The value at a key or index, which must be there."""
        return Node(
            self.documents, self.document, f"{self.pointer}/{escaped(str(key))}", self.value[key]
        )

    def get(self, key: str) -> "Node | None":
        """The value at a key; None if this is no object, has no such key, or null is there."""
        if not isinstance(self.value, dict) or self.value.get(key) is None:
            return None
        return self.child(key)

    def object(self, key: str) -> "Node | None":
        """The object at a key. Raises DocumentError for any other value but null."""
        found = self.get(key)
        if found is not None and not isinstance(found.value, dict):
            raise DocumentError(found.where, f"not an object: {shown(found.value)}")
        return found

    def entries(self, key: str) -> "dict[str, Node]":
        """The members of the object at a key that are not null; none if there is no object."""
        found = self.object(key)
        if found is None:
            return {}
        return {name: found.child(name) for name, v in found.value.items() if v is not None}

    def items(self, key: str) -> "list[Node]":
        """The elements of the list at a key that are not null; none if null is there."""
        found = self.get(key)
        if found is None:
            return []
        if not isinstance(found.value, list):
            raise DocumentError(found.where, f"not a list: {shown(found.value)}")
        return [found.child(index) for index, v in enumerate(found.value) if v is not None]

    def text(self, key: str) -> str:
        """The text at a key; a number as it is written, empty for anything else."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return ""
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in the list at a key."""
        return tuple(item.value for item in self.items(key) if isinstance(item.value, str))

    def flag(self, key: str) -> bool:
        """Whether true is at a key."""
        return isinstance(self.value, dict) and self.value.get(key) is True

    @property
    def reference(self) -> str | None:
        """The `$ref` of a value that is one."""
        found = self.value.get("$ref") if isinstance(self.value, dict) else None
        return found if isinstance(found, str) else None

    def resolved(self) -> "Node":
        """The value itself, or what its `$ref` leads to with the members that are beside it.

        Raises DocumentError for a reference that leads nowhere or back to itself.
        """
        node, seen = self, set()
        beside: dict[str, Any] = {}
        while (reference := node.reference) is not None:
            if (node.document, node.pointer) in seen:
                raise DocumentError(self.where, f"a reference to itself: {reference}")
            seen.add((node.document, node.pointer))
            beside = {**{k: v for k, v in node.value.items() if k != "$ref"}, **beside}
            node = node.documents.target(node, reference)
        if beside and isinstance(node.value, dict):
            return Node(node.documents, node.document, node.pointer, {**node.value, **beside})
        return node

    def referenced(self) -> "Iterator[Node]":
        """The nodes below this one, itself included, that are references; lists and all."""
        stack: list[tuple[str, Any]] = [(self.pointer, self.value)]
        while stack:
            pointer, value = stack.pop()
            if isinstance(value, dict):
                if isinstance(value.get("$ref"), str):
                    yield Node(self.documents, self.document, pointer, value)
                stack.extend((f"{pointer}/{escaped(k)}", v) for k, v in value.items())
            elif isinstance(value, list):
                stack.extend((f"{pointer}/{i}", v) for i, v in enumerate(value))


def address_of(source: str | Path) -> str:
    """A file's path or an address as an address."""
    text = str(source)
    return text if text.startswith(("http://", "https://")) else Path(text).resolve().as_uri()


def readable(address: str) -> str:
    """An address as a user would write it: of a file its path."""
    return url2pathname(urlsplit(address).path) if address.startswith("file:") else address


def fetch(address: str) -> bytes:
    """The bytes at an address. Raises DocumentError if there are none to be had."""
    try:
        if address.startswith("file:"):
            return Path(readable(address)).read_bytes()
        return httpx.get(address, follow_redirects=True).raise_for_status().content
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise DocumentError(readable(address), f"cannot be read ({error})") from error


def escaped(key: str) -> str:
    """A key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def shown(value: Any) -> str:
    """A value in an error message, cut short."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
