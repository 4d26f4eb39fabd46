"""Packages into files: one envelope template a format."""

from collections.abc import Callable
from typing import Any

from bridge.generator.dialects import Dialect
from bridge.generator.model import Package, protocols
from bridge.generator.packages import baseline_name
from bridge.generator.templates import Templates

Render = Callable[..., str]


def render_dialect(
    dialect: Dialect, packages: tuple[Package, ...], installer: Package, templates: Templates
) -> dict[str, str]:
    """All files of a dialect: path below its folder, to text."""

    def render(name: str, **context: Any) -> str:
        return templates.render(f"formats/{name}", dialect=dialect, protocols=protocols, **context)

    files = {"install.st": render("fileout.st", package=installer)}
    for name in dialect.formats:
        files |= FORMATS[name](packages, render)
    return files


def _fileouts(packages: tuple[Package, ...], render: Render) -> dict[str, str]:
    """One file of bang-separated chunks a package."""
    return {f"{p.name}.st": render("fileout.st", package=p) for p in packages}


def _cuis_packages(packages: tuple[Package, ...], render: Render) -> dict[str, str]:
    """One file a package, in the form that Cuis keeps packages in."""
    return {f"{p.name}.pck.st": render("package.pck.st", package=p) for p in packages}


def _tonel(packages: tuple[Package, ...], render: Render) -> dict[str, str]:
    """One file a class, one folder a package, and a Metacello baseline."""
    baseline = baseline_name(packages)
    folder = f"BaselineOf{baseline}"
    files = {
        ".properties": "{\n\t#format : #tonel\n}\n",
        f"{folder}/package.st": render("package.tonel.st", package_name=folder),
        f"{folder}/{folder}.class.st": render(
            "baseline.tonel.st", baseline=baseline, packages=packages
        ),
    }
    for package in packages:
        files[f"{package.name}/package.st"] = render("package.tonel.st", package_name=package.name)
        for cls in package.classes:
            path = f"{package.name}/{cls.name}.class.st"
            files[path] = render("class.tonel.st", package=package, **{"class": cls})
    return files


def _tree(packages: tuple[Package, ...], render: Render) -> dict[str, str]:
    """NeuroScope's own layout: one folder a class, one file a method, `class/` for the class."""
    files = {}
    for package in packages:
        for cls in package.classes:
            folder = f"classes/{cls.name}"
            files[f"{folder}/COMMENT.md"] = render("comment.md", package=package, **{"class": cls})
            for side, methods in (("class/", cls.class_methods), ("", cls.methods)):
                for method in methods:
                    name = method.selector.replace("/", "%2F")
                    files[f"{folder}/{side}{name}.st"] = render("method.st", method=method)
    return files


FORMATS: dict[str, Callable[[tuple[Package, ...], Render], dict[str, str]]] = {
    "fileout": _fileouts,
    "cuis": _cuis_packages,
    "tonel": _tonel,
    "tree": _tree,
}
