"""Packages into files: one envelope template a format."""

import json
from collections.abc import Callable
from typing import Any

from bridge import __version__
from bridge.generator.dialects import Dialect
from bridge.generator.errors import GeneratorError
from bridge.generator.file_names import cypress, file_names, percent_escaped
from bridge.generator.model import Package, SmalltalkClass, protocols
from bridge.generator.naming import Naming
from bridge.generator.packages import baseline_name, baseline_of, guide_of, installer_of
from bridge.generator.templates import Templates

Render = Callable[..., str]
Files = dict[str, str]


def render_dialect(
    dialect: Dialect,
    packages: tuple[Package, ...],
    naming: Naming,
    templates: Templates,
    formats: tuple[str, ...] = (),
) -> Files:
    """All files of a dialect, in its own and in further formats: path below its folder, to text."""

    def render(name: str, **context: Any) -> str:
        return templates.render(f"formats/{name}", dialect=dialect, protocols=protocols, **context)

    installer = installer_of(packages, naming, dialect, templates)
    files = {"install.st": render("fileout.st", package=installer)}
    if naming.is_bridge and dialect.hosted:
        baseline = baseline_name(packages)
        files[SMALLTALK_CI] = render("smalltalk.ston", packages=packages, baseline=baseline)
    if naming.is_bridge:
        files["workspace.st"] = templates.render(
            "guide/workspace.st", **guide_of(dialect, templates)
        )
        for name in dialect.runners:
            context = {"packages": packages, "version": __version__}
            files[name] = templates.render(f"runners/{name}", **context)
    for name in dict.fromkeys((*dialect.formats, *formats)):
        whole = packages
        if name in METACELLO_SCHEMES:
            scheme = METACELLO_SCHEMES[name]
            whole = (baseline_of(packages, naming, dialect, scheme, templates), *packages)
        files |= FORMATS[name](whole, render)
    return files


def format_named(name: str) -> str:
    """The name itself; an unknown format is an error that lists the known ones."""
    if name not in FORMATS:
        raise GeneratorError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    return name


def _fileouts(packages: tuple[Package, ...], render: Render) -> Files:
    """One file of bang-separated chunks a package."""
    return {f"{p.name}.st": render("fileout.st", package=p) for p in packages}


def _cuis_packages(packages: tuple[Package, ...], render: Render) -> Files:
    """One file a package, in the form that Cuis keeps packages in."""
    return {f"{p.name}.pck.st": render("package.pck.st", package=p) for p in packages}


def _tonel(packages: tuple[Package, ...], render: Render) -> Files:
    """One file a class, one folder a package."""
    files = {".properties": "{\n\t#format : #tonel\n}\n"}
    for package in packages:
        files[f"{package.name}/package.st"] = render("package.tonel.st", package=package)
        for cls in package.classes:
            path = f"{package.name}/{cls.name}.class.st"
            files[path] = render("class.tonel.st", package=package, **{"class": cls})
    return files


def _filetree(packages: tuple[Package, ...], render: Render) -> Files:
    """FileTree in its Cypress form: one folder a package and a class, one file a method."""
    files = {".filetree": _json({"packageExtension": ".package"})}
    for package in packages:
        folder = f"{package.name}.package"
        files[f"{folder}/.filetree"] = _json(
            {
                "noMethodMetaData": True,
                "separateMethodMetaAndSource": False,
                "useCypressPropertiesFile": True,
            }
        )
        files[f"{folder}/properties.json"] = _json({})
        for cls in package.classes:
            files |= _filetree_class(package, cls, f"{folder}/{cls.name}.class", render)
    return files


def _filetree_class(package: Package, cls: SmalltalkClass, folder: str, render: Render) -> Files:
    files = {
        f"{folder}/README.md": f"{cls.comment}\n",
        f"{folder}/properties.json": _json(
            {
                "category": package.name,
                "classinstvars": [],
                "classvars": [],
                "commentStamp": "",
                "instvars": list(cls.variables),
                "name": cls.name,
                "pools": [],
                "super": cls.superclass,
                "type": "normal",
            }
        ),
    }
    for side, methods in (("class", cls.class_methods), ("instance", cls.methods)):
        names = file_names((method.selector for method in methods), cypress)
        for method in methods:
            path = f"{folder}/{side}/{names[method.selector]}.st"
            files[path] = render("method.filetree.st", method=method)
    return files


def _tree(packages: tuple[Package, ...], render: Render) -> Files:
    """NeuroScope's own layout: one folder a class, one file a method, `class/` for the class."""
    files = {}
    for package in packages:
        for cls in package.classes:
            folder = f"classes/{cls.name}"
            files[f"{folder}/COMMENT.md"] = render("comment.md", package=package, **{"class": cls})
            for side, methods in (("class/", cls.class_methods), ("", cls.methods)):
                names = file_names((method.selector for method in methods), percent_escaped)
                for method in methods:
                    path = f"{folder}/{side}{names[method.selector]}.st"
                    files[path] = render("method.st", method=method)
    return files


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent="\t") + "\n"


FORMATS: dict[str, Callable[[tuple[Package, ...], Render], Files]] = {
    "fileout": _fileouts,
    "cuis": _cuis_packages,
    "tonel": _tonel,
    "filetree": _filetree,
    "tree": _tree,
}
SMALLTALK_CI = ".smalltalk.ston"
"""Says to smalltalkCI how a hosted machine loads the packages and runs their tests."""
METACELLO_SCHEMES = {"tonel": "tonel", "filetree": "filetree"}
"""Formats that Metacello loads by a baseline, to the scheme of their repository's address."""
