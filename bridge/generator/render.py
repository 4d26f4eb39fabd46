"""Packages into files: one envelope template a format."""

from bridge.generator.dialects import Dialect
from bridge.generator.model import Package, protocols
from bridge.generator.templates import Templates


def render_dialect(
    dialect: Dialect, packages: tuple[Package, ...], templates: Templates
) -> dict[str, str]:
    """All files of a dialect: path below its folder, to text."""
    files: dict[str, str] = {}
    for name in dialect.formats:
        files |= FORMATS[name](dialect, packages, templates)
    return files


def _fileouts(
    dialect: Dialect, packages: tuple[Package, ...], templates: Templates
) -> dict[str, str]:
    """One file of bang-separated chunks a package, and an installer."""
    files = {
        f"{package.name}.st": templates.render(
            "formats/fileout.st", dialect=dialect, package=package, protocols=protocols
        )
        for package in packages
    }
    files["install.st"] = templates.render(
        f"installers/{dialect.name}.st", dialect=dialect, packages=packages
    )
    return files


FORMATS = {"fileout": _fileouts}
