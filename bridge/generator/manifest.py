"""`MANIFEST.json`: what was rendered, by which generator, from which API document."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from bridge import __version__
from bridge.generator.document import Document
from bridge.generator.errors import DriftError

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Manifest:
    """Hashes are SHA-256 in hexadecimal; files are keyed by their path below the output folder."""

    generator: str
    document: str
    operations: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        content = {
            "generator": self.generator,
            "document": self.document,
            "operations": self.operations,
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(content, indent=2) + "\n"


def manifest_of(document: Document, files: dict[str, str]) -> Manifest:
    """The manifest of freshly rendered files."""
    return Manifest(
        __version__,
        hash_of(document.raw),
        {
            f"{verb.upper()} {path}": hash_of(json.dumps(content, sort_keys=True).encode())
            for _, path, verb, content in document.operations()
        },
        {path: hash_of(text.encode()) for path, text in files.items()},
    )


def read_manifest(folder: Path, *, ignore_broken: bool = False) -> Manifest | None:
    """The manifest in an output folder, or None if nothing was ever generated there.

    Raises DriftError for a file of that name which is no manifest, unless that is to be ignored.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        if ignore_broken:
            return None
        raise DriftError(f"{path} is not a manifest ({error}); --force replaces it") from error


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
