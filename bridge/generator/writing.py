"""Files into a folder: only ours are replaced or removed, and a run cut short can be repeated.

The new files are written aside first; then the manifest says which files are `pending`; then each
takes its place by being renamed; then what is no longer generated is removed, and the manifest
says that all is done. Whatever happens in between, the manifest knows each file that is ours.
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.generator.drift import STAGING, Drift, Kind, drifts
from bridge.generator.errors import DriftError
from bridge.generator.manifest import MANIFEST, Manifest, check_path, hash_of, read_manifest


@dataclass(frozen=True)
class Written:
    """What a run did: the files that it wrote and removed, in order; what was the same stayed."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def write_files(
    folder: Path, new: Manifest, files: dict[str, str], *, force: bool = False
) -> Written:
    """Bring a folder to a manifest that is whole: it has the files of every dialect in it.

    Raises DriftError, having changed nothing, where that would lose an edit made by hand or the
    work of a newer generator, unless `force`; where a file is in the way that is not ours, unless
    `force` and there is a manifest, be it a broken one; always where the folder belongs to another
    API.
    """
    old = read_manifest(folder, ignore_broken=force)
    _check_owner(folder, old, new)
    stale = sorted({*old.files, *old.pending} - {*new.files, *new.pending}) if old else []
    touched = {*files, *stale}
    for path in touched:
        _check_place(folder, path)
    found = drifts(folder, old, new)
    if not (force and (folder / MANIFEST).exists()):
        _check_not_in_the_way(found, touched)
    _check_losses(found, touched, force)
    changed = [path for path in files if _digest(folder / path) != new.files[path]]
    present = [path for path in stale if (folder / path).is_file()]
    try:
        _replace(folder, old, new, {path: files[path] for path in changed}, present)
    except OSError as error:
        raise DriftError(
            f"{folder}: {error}; the same command again finishes what was begun"
        ) from error
    return Written(tuple(changed), tuple(present))


def _replace(
    folder: Path, old: Manifest | None, new: Manifest, files: dict[str, str], stale: list[str]
) -> None:
    staging = folder / STAGING
    _remove_staging(staging)
    try:
        for path, text in files.items():
            _put(staging / path, text)
        known = old or replace(new, files={})
        pending = {path: new.files[path] for path in files}
        _put_manifest(folder, replace(known, pending={**known.pending, **pending}))
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / path, folder / path)
        for path in stale:
            (folder / path).unlink()
            _remove_empty(folder, (folder / path).parent)
        _put_manifest(folder, new)
    finally:
        _remove_staging(staging)


def _check_owner(folder: Path, old: Manifest | None, new: Manifest) -> None:
    """A folder belongs to one API: that of the same title, or with half of its operations."""
    if old is None or old.title == new.title:
        return
    kept = sum(route in new.operations for route in old.operations)
    if not old.operations or kept * 2 < len(old.operations):
        raise DriftError(
            f"{folder} has the bindings of {old.title!r}, not of {new.title!r}: "
            "name another folder by --output"
        )


def _check_place(folder: Path, path: str) -> None:
    """A path must stay in the folder, also where one of its folders is a link."""
    check_path(path)
    if not (folder / path).parent.resolve().is_relative_to(folder.resolve()):
        raise DriftError(f"{folder / path} is not in {folder}: a link leads out of it")


def _check_not_in_the_way(found: list[Drift], touched: set[str]) -> None:
    in_the_way = [d for d in found if d.kind is Kind.IN_THE_WAY and d.subject in touched]
    if in_the_way:
        said = "\n".join(map(str, in_the_way))
        raise DriftError(f"{said}\nnothing was written; move it away, or name another --output")


def _check_losses(found: list[Drift], touched: set[str], force: bool) -> None:
    lost = [d for d in found if d.kind is Kind.NEWER_GENERATOR]
    lost += [d for d in found if d.kind is Kind.EDITED and d.subject in touched]
    if lost and not force:
        raise DriftError("\n".join(map(str, lost)) + "\nnothing was written; --force overwrites")


def _digest(path: Path) -> str | None:
    return hash_of(path.read_bytes()) if path.is_file() else None


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _put_manifest(folder: Path, manifest: Manifest) -> None:
    aside = folder / STAGING / MANIFEST
    _put(aside, manifest.to_json())
    os.replace(aside, folder / MANIFEST)


def _remove_staging(staging: Path) -> None:
    if staging.is_symlink():
        staging.unlink()
    elif staging.is_dir():
        shutil.rmtree(staging)


def _remove_empty(folder: Path, parent: Path) -> None:
    """Remove a folder that has nothing in it any more, and those above it, up to the output's."""
    while parent != folder and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
