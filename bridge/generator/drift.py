"""How an output folder differs from a fresh render, each difference named for what it is."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pathspec import GitIgnoreSpec

from bridge.generator.manifest import MANIFEST, Manifest, hash_of

IGNORE_FILE = ".bindingsignore"
"""Patterns, as in `.gitignore`, of a user's own files in an output folder."""
STAGING = ".generating"
"""The folder that files are written into before they take their places."""


class Kind(StrEnum):
    NOTHING_GENERATED = "nothing was generated here yet"
    NEWER_GENERATOR = "written by a newer generator"
    OLDER_GENERATOR = "written by an older generator"
    ENDPOINT_ADDED = "endpoint added to the API"
    ENDPOINT_CHANGED = "endpoint changed in the API"
    ENDPOINT_REMOVED = "endpoint removed from the API"
    PART_CHANGED = "changed in the API"
    DOCUMENT_CHANGED = "the API document changed outside its endpoints"
    EDITED = "edited by hand"
    MISSING = "deleted by hand"
    UNKNOWN = "not a generated file"
    IN_THE_WAY = "not a generated file, but of the name of one"
    STALE = "no longer generated"
    OUT_OF_DATE = "would be rendered differently"
    UNFINISHED = "was being written when a run was cut short"
    NEW = "not rendered yet"


@dataclass(frozen=True)
class Drift:
    """One difference of a file, an endpoint or a version, and the selectors that it touches."""

    kind: Kind
    subject: str
    selectors: tuple[str, ...] = ()

    def __str__(self) -> str:
        touched = f" (selectors: {', '.join(self.selectors)})" if self.selectors else ""
        return f"{self.subject}: {self.kind}{touched}"


def drifts(folder: Path, old: Manifest | None, new: Manifest) -> list[Drift]:
    """All differences between a folder, what its manifest says, and a fresh render.

    `new` contains the whole folder: what was just rendered, and the old entries of the dialects
    that were not.
    """
    known = old or Manifest(new.generator, new.title, new.document)
    found = [Drift(Kind.NOTHING_GENERATED, str(folder))] if old is None else []
    found += [*_generator(known, new), *(_document(old, new) if old else ())]
    if old is None:
        found += [d for d in _files(folder, known, new) if d.kind is Kind.IN_THE_WAY]
    else:
        found += _files(folder, known, new)
    return [*found, *_unknown(folder, {*known.files, *known.pending, *new.files})]


def _generator(old: Manifest, new: Manifest) -> list[Drift]:
    if old.generator == new.generator:
        return []
    newer = _version(old.generator) > _version(new.generator)
    return [Drift(Kind.NEWER_GENERATOR if newer else Kind.OLDER_GENERATOR, old.generator)]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split("."))


def _document(old: Manifest, new: Manifest) -> list[Drift]:
    if (old.document, old.parts, old.operations) == (new.document, new.parts, new.operations):
        return []
    found = [
        *(_endpoint(Kind.ENDPOINT_REMOVED, o, old) for o in old.operations.keys() - new.operations),
        *(_endpoint(Kind.ENDPOINT_ADDED, o, new) for o in new.operations.keys() - old.operations),
        *(
            _endpoint(Kind.ENDPOINT_CHANGED, o, new)
            for o, entry in new.operations.items()
            if o in old.operations and old.operations[o]["digest"] != entry["digest"]
        ),
        *(
            Drift(Kind.PART_CHANGED, place, new.selectors_touching(place))
            for place in new.parts
            if place in old.parts and old.parts[place]["digest"] != new.parts[place]["digest"]
        ),
    ]
    return sorted(found, key=str) or [Drift(Kind.DOCUMENT_CHANGED, new.document[:12])]


def _endpoint(kind: Kind, route: str, manifest: Manifest) -> Drift:
    return Drift(kind, route, tuple(manifest.operations[route]["selectors"]))


def _files(folder: Path, old: Manifest, new: Manifest) -> list[Drift]:
    found = []
    for path in sorted({*old.files, *old.pending, *new.files}):
        on_disk = folder / path
        digest = hash_of(on_disk.read_bytes()) if on_disk.is_file() else None
        ours = old.digests(path)
        if digest is None:
            if on_disk.exists() or on_disk.is_symlink():
                found.append(Drift(Kind.IN_THE_WAY, path))
            elif path in new.files:
                found.append(Drift(Kind.MISSING if path in old.files else Kind.NEW, path))
        elif digest == new.files.get(path):
            if path not in old.files or digest != old.files[path]:
                found.append(Drift(Kind.UNFINISHED, path))
        elif not ours:
            found.append(Drift(Kind.IN_THE_WAY, path))
        elif digest not in ours:
            found.append(Drift(Kind.EDITED, path))
        elif path not in new.files:
            found.append(Drift(Kind.STALE, path))
        else:
            found.append(Drift(Kind.OUT_OF_DATE, path))
    return found


def _unknown(folder: Path, known: set[str]) -> list[Drift]:
    if not folder.is_dir():
        return []
    ignore = folder / IGNORE_FILE
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    ignored = GitIgnoreSpec.from_lines([*lines, f"/{IGNORE_FILE}", f"/{MANIFEST}", f"/{STAGING}/"])
    present = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
    return [
        Drift(Kind.UNKNOWN, path)
        for path in present
        if path not in known and not ignored.match_file(path)
    ]
