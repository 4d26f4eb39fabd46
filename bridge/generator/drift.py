"""How an output folder differs from a fresh render, each difference named for what it is."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bridge.generator.manifest import MANIFEST, Manifest, hash_of


class Kind(StrEnum):
    NOTHING_GENERATED = "nothing was generated here yet"
    NEWER_GENERATOR = "written by a newer generator"
    OLDER_GENERATOR = "written by an older generator"
    ENDPOINT_ADDED = "endpoint added to the API"
    ENDPOINT_CHANGED = "endpoint changed in the API"
    ENDPOINT_REMOVED = "endpoint removed from the API"
    DOCUMENT_CHANGED = "the API document changed outside its endpoints"
    EDITED = "edited by hand"
    MISSING = "deleted by hand"
    UNKNOWN = "not a generated file"
    STALE = "no longer generated"
    OUT_OF_DATE = "would be rendered differently"
    NEW = "not rendered yet"


@dataclass(frozen=True)
class Drift:
    """One difference; `subject` is a file, an endpoint or a version."""

    kind: Kind
    subject: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind}"


def drifts(folder: Path, old: Manifest | None, new: Manifest) -> list[Drift]:
    """All differences between a folder, what its manifest says, and a fresh render.

    `new` holds the whole folder: what was just rendered, and the old entries of the dialects
    that were not.
    """
    if old is None:
        return [Drift(Kind.NOTHING_GENERATED, str(folder)), *_unknown(folder, set(new.files))]
    return [
        *_generator(old, new),
        *_document(old, new),
        *_files(folder, old.files, new.files),
        *_unknown(folder, set(old.files) | set(new.files)),
    ]


def _generator(old: Manifest, new: Manifest) -> list[Drift]:
    if old.generator == new.generator:
        return []
    newer = _version(old.generator) > _version(new.generator)
    return [Drift(Kind.NEWER_GENERATOR if newer else Kind.OLDER_GENERATOR, old.generator)]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split("."))


def _document(old: Manifest, new: Manifest) -> list[Drift]:
    if old.document == new.document:
        return []
    found = [
        *(Drift(Kind.ENDPOINT_REMOVED, o) for o in old.operations if o not in new.operations),
        *(Drift(Kind.ENDPOINT_ADDED, o) for o in new.operations if o not in old.operations),
        *(
            Drift(Kind.ENDPOINT_CHANGED, o)
            for o, digest in new.operations.items()
            if old.operations.get(o, digest) != digest
        ),
    ]
    return found or [Drift(Kind.DOCUMENT_CHANGED, new.document[:12])]


def _files(folder: Path, old: dict[str, str], new: dict[str, str]) -> list[Drift]:
    found = []
    for path in sorted({*old, *new}):
        on_disk = folder / path
        digest = hash_of(on_disk.read_bytes()) if on_disk.is_file() else None
        if digest is None:
            found.append(Drift(Kind.MISSING if path in old else Kind.NEW, path))
        elif digest not in (old.get(path), new.get(path)):
            found.append(Drift(Kind.EDITED, path))
        elif path not in new:
            found.append(Drift(Kind.STALE, path))
        elif digest != new[path]:
            found.append(Drift(Kind.OUT_OF_DATE, path))
    return found


def _unknown(folder: Path, known: set[str]) -> list[Drift]:
    if not folder.is_dir():
        return []
    present = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
    return [Drift(Kind.UNKNOWN, path) for path in present if path not in known | {MANIFEST}]
