"""The whole way: a document, dialects and templates in; a folder checked or written."""

from dataclasses import replace
from pathlib import Path

from bridge.generator.client import client_of
from bridge.generator.dialects import Dialect
from bridge.generator.document import Document
from bridge.generator.drift import Drift, Kind, drifts
from bridge.generator.errors import DriftError
from bridge.generator.linter import lint
from bridge.generator.manifest import MANIFEST, Manifest, manifest_of, read_manifest
from bridge.generator.packages import installer_of, packages_of
from bridge.generator.render import render_dialect
from bridge.generator.templates import Templates


def render(
    document: Document,
    dialects: tuple[Dialect, ...],
    overrides: Path | None = None,
    formats: tuple[str, ...] = (),
) -> dict[str, str]:
    """All files of the dialects, in their own and in further formats: path to text; linted."""
    templates = Templates(overrides)
    client = client_of(document)
    files: dict[str, str] = {}
    for dialect in dialects:
        packages = packages_of(client, dialect, templates)
        installer = installer_of(packages, dialect, templates)
        lint((installer, *packages), dialect)
        for path, text in render_dialect(dialect, packages, installer, templates, formats).items():
            files[f"{dialect.name}/{path}"] = text
    return files


def check(
    folder: Path, document: Document, dialects: tuple[Dialect, ...], files: dict[str, str]
) -> list[Drift]:
    """How the folder differs from these files; empty if it does not."""
    old = read_manifest(folder)
    return drifts(folder, old, _whole(old, manifest_of(document, files), dialects))


def write(
    folder: Path,
    document: Document,
    dialects: tuple[Dialect, ...],
    files: dict[str, str],
    *,
    force: bool = False,
) -> list[Drift]:
    """Write the files, remove stale ones, and answer what was different before.

    Raises DriftError, having written nothing, where that would lose an edit made by hand or the
    work of a newer generator, unless `force`.
    """
    old = read_manifest(folder, ignore_broken=force)
    new = _whole(old, manifest_of(document, files), dialects)
    found = drifts(folder, old, new)
    stale = sorted({*(old.files if old else ())} - {*new.files})
    lost = [d for d in found if d.kind is Kind.NEWER_GENERATOR]
    lost += [d for d in found if d.kind is Kind.EDITED and d.subject in {*files, *stale}]
    if lost and not force:
        raise DriftError("\n".join(map(str, lost)) + "\nnothing was written; --force overwrites")
    for path in stale:
        (folder / path).unlink(missing_ok=True)
    for path, text in {**files, MANIFEST: new.to_json()}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return found


def _whole(old: Manifest | None, new: Manifest, dialects: tuple[Dialect, ...]) -> Manifest:
    """A fresh manifest, with the files of the dialects that were not rendered now."""
    if old is None:
        return new
    rendered = {dialect.name for dialect in dialects}
    others = {p: digest for p, digest in old.files.items() if p.split("/")[0] not in rendered}
    return replace(new, files={**others, **new.files})
