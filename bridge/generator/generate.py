"""The whole way: a document, dialects and templates in; a folder checked or written."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge.generator.client import Client
from bridge.generator.dialects import DIALECTS, Dialect
from bridge.generator.drift import Drift, drifts
from bridge.generator.linter import lint
from bridge.generator.manifest import Manifest, manifest_of, read_manifest
from bridge.generator.packages import installer_of, packages_of, readme_of
from bridge.generator.render import render_dialect
from bridge.generator.templates import Templates
from bridge.generator.writing import Written, write_files


@dataclass(frozen=True)
class Rendering:
    """A client in some dialects: its files by their path below the output folder."""

    client: Client
    dialects: tuple[Dialect, ...]
    files: dict[str, str] = field(repr=False)

    def check(self, folder: Path) -> list[Drift]:
        """How a folder differs from this; empty if it does not."""
        old = read_manifest(folder)
        return drifts(folder, old, self._whole(old))

    def write(self, folder: Path, *, force: bool = False) -> Written:
        """Write the files into a folder and remove stale ones, as `write_files` does."""
        old = read_manifest(folder, ignore_broken=force)
        return write_files(folder, self._whole(old), self.files, force=force)

    def _whole(self, old: Manifest | None) -> Manifest:
        """A fresh manifest, with the files of the dialects that were not rendered now."""
        new = manifest_of(self.client, self.files)
        if old is None:
            return new
        rendered = {dialect.name for dialect in self.dialects}
        files, pending = (
            {path: hashed for path, hashed in given.items() if path.split("/")[0] not in rendered}
            for given in (old.files, old.pending)
        )
        return replace(new, files={**files, **new.files}, pending=pending)


def render(
    client: Client,
    dialects: tuple[Dialect, ...] = tuple(DIALECTS.values()),
    *,
    templates: Templates | None = None,
    formats: tuple[str, ...] = (),
) -> Rendering:
    """Render a client in some dialects, in their own and in further formats.

    The rules of style are for the bridge's own code: of a foreign client it is checked only that
    it is Smalltalk.
    """
    templates = templates or Templates()
    files: dict[str, str] = {}
    for dialect in dialects:
        packages = packages_of(client, dialect, templates)
        installer = installer_of(packages, client.naming, dialect, templates)
        lint((installer, *packages), dialect, style=client.naming.is_bridge)
        rendered = render_dialect(dialect, packages, client.naming, templates, formats)
        if not client.naming.is_bridge:
            rendered["README.md"] = readme_of(client, packages, dialect, templates)
        files |= {f"{dialect.name}/{path}": text for path, text in rendered.items()}
    templates.check_all_used()
    return Rendering(client, dialects, files)
