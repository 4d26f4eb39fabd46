"""`MANIFEST.json`: what was rendered, by which generator, from which API document."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bridge import __version__
from bridge.generator.client import Client
from bridge.generator.digests import Digests, Meaning, digest
from bridge.generator.errors import DriftError

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Manifest:
    """Hashes are SHA-256 in hexadecimal; files are keyed by their path below the output folder.

    `operations` has for each route its hash, the selectors of its methods and the `parts` of the
    document that it refers to; `parts` has for each of these its hash and the same. `pending` are
    files that were being written when this was: a run that was cut short leaves it, and the next
    one knows them as its own.
    """

    generator: str
    title: str
    document: str
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        content = asdict(self)
        content["files"] = dict(sorted(self.files.items()))
        if not self.pending:
            del content["pending"]
        return json.dumps(content, indent=1) + "\n"

    def selectors_touching(self, part: str) -> tuple[str, ...]:
        """The selectors whose operation refers to a part of the document, however indirectly."""
        touching = {part}
        waiting = [part]
        users: dict[str, list[str]] = {}
        for place, entry in self.parts.items():
            for used in entry["parts"]:
                users.setdefault(used, []).append(place)
        while waiting:
            more = set(users.get(waiting.pop(), ())) - touching
            touching |= more
            waiting += more
        return tuple(
            selector
            for entry in self.operations.values()
            if not touching.isdisjoint(entry["parts"])
            for selector in entry["selectors"]
        )

    def digests(self, path: str) -> set[str]:
        """The hashes that a file of ours may have: as it was, or as it was being written."""
        return {d for d in (self.files.get(path), self.pending.get(path)) if d}


def manifest_of(client: Client, files: dict[str, str]) -> Manifest:
    """The manifest of freshly rendered files."""
    digests = Digests(client.api)
    selectors: dict[str, list[str]] = {route: [] for route in digests.operations}
    for method in client.methods:
        selectors[method.operation.route].append(method.pattern.selector)
    return Manifest(
        __version__,
        client.title,
        digests.document,
        {
            route: {"selectors": selectors[route], **_entry(meaning)}
            for route, meaning in digests.operations.items()
        },
        {place: _entry(meaning) for place, meaning in sorted(digests.parts.items())},
        {path: hash_of(text.encode()) for path, text in files.items()},
    )


def _entry(meaning: Meaning) -> dict[str, Any]:
    return {"digest": meaning.digest, "parts": list(meaning.parts)}


def read_manifest(folder: Path, *, ignore_broken: bool = False) -> Manifest | None:
    """The manifest in an output folder, or None if nothing was ever generated there.

    Raises DriftError for a file of that name which is no manifest, unless that is to be ignored,
    and always for one that names files outside the folder.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
        for each in (*manifest.files, *manifest.pending):
            check_path(each)
        for entry in (*manifest.operations.values(), *manifest.parts.values()):
            _ = entry["digest"], entry["parts"]
        _ = [entry["selectors"] for entry in manifest.operations.values()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if ignore_broken:
            return None
        raise DriftError(f"{path} is not a manifest ({error}); --force replaces it") from error
    return manifest


def check_path(path: str) -> None:
    """Raise DriftError for a path that does not stay below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    elsewhere = path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path)
    if not parts or elsewhere or ".." in parts:
        raise DriftError(f"not a path below the output folder: {path!r}")


def hash_of(content: bytes) -> str:
    """The hash of a text file, whatever its line ends are: version control may change them."""
    return digest(content.replace(b"\r\n", b"\n"))
