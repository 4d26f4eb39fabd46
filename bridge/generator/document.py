"""Reading an OpenAPI 3 document from a file or an address."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bridge.generator.errors import DocumentError

METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))


@dataclass(frozen=True)
class Document:
    """A parsed document and the bytes that it was parsed from."""

    content: dict[str, Any]
    raw: bytes

    def operations(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        """All operations as JSON pointer, path, HTTP method, operation; in document order."""
        return [
            (f"#/paths/{_escape(path)}/{method}", path, method, item[method])
            for path, item in self.content["paths"].items()
            for method in item
            if method in METHODS
        ]

    def shared_parameters(self, path: str) -> list[dict[str, Any]]:
        """The parameters that all operations of a path share."""
        return self.content["paths"][path].get("parameters", [])

    def resolve(self, node: dict[str, Any], pointer: str) -> dict[str, Any]:
        """The node itself, or what its `$ref` within the document leads to."""
        seen = set()
        while "$ref" in node:
            reference = node["$ref"]
            if not reference.startswith("#/"):
                raise DocumentError(pointer, f"a reference to another document: {reference}")
            if reference in seen:
                raise DocumentError(pointer, f"a reference to itself: {reference}")
            seen.add(reference)
            node = self._lookup(reference, pointer)
        return node

    def _lookup(self, reference: str, pointer: str) -> dict[str, Any]:
        node: Any = self.content
        for part in reference.removeprefix("#/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                raise DocumentError(pointer, f"a reference to nothing: {reference}")
            node = node[key]
        return node


def read_document(source: str | Path) -> Document:
    """Read a document from a file's path or an http(s) address; JSON only."""
    raw = _fetch(str(source))
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise DocumentError(str(source), f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DocumentError(str(source), "not an OpenAPI document: not a JSON object")
    version = content.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        found = content.get("swagger") or version
        raise DocumentError(str(source), f"not an OpenAPI 3 document: its version is {found}")
    for key in ("info", "paths"):
        if not isinstance(content.get(key), dict):
            raise DocumentError(f"#/{key}", "missing")
    return Document(content, raw)


def _fetch(source: str) -> bytes:
    try:
        if source.startswith(("http://", "https://")):
            return httpx.get(source, follow_redirects=True).raise_for_status().content
        return Path(source).read_bytes()
    except (OSError, httpx.HTTPError) as error:
        raise DocumentError(source, f"cannot be read ({error})") from error


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
