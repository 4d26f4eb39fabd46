"""`smalltalk-bindings.toml`: what to generate, kept beside the output so that no flag is needed."""

import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit

from bridge.generator.errors import GeneratorError
from bridge.generator.naming import Choices

SETTINGS_FILE = "smalltalk-bindings.toml"
KEYS: dict[str, type] = {
    "spec": str,
    "output": str,
    "class-name": str,
    "package": str,
    "prefix": str,
    "base-url": str,
    "dialects": list,
    "formats": list,
    "templates": str,
    "include": list,
    "exclude": list,
    "models": list,
    "allow-remote-refs": bool,
}
HEADER = "What `neuroscope-bridge generate` and `generate --check` do here; paths are from here."


@dataclass(frozen=True)
class Settings:
    """What to generate; empty where the document or the defaults decide."""

    spec: str = ""
    output: Path | None = None
    choices: Choices = field(default_factory=Choices)
    dialects: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    templates: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_remote: bool = False
    models: tuple[str, ...] = ()

    def over(self, other: "Settings") -> "Settings":
        """These settings, and another's where these say nothing."""
        mine, theirs = self.choices, other.choices
        return Settings(
            self.spec or other.spec,
            self.output or other.output,
            Choices(
                mine.class_name or theirs.class_name,
                mine.package or theirs.package,
                mine.prefix or theirs.prefix,
                mine.base_url or theirs.base_url,
            ),
            self.dialects or other.dialects,
            self.formats or other.formats,
            self.templates or other.templates,
            self.include or other.include,
            self.exclude or other.exclude,
            self.allow_remote or other.allow_remote,
            self.models or other.models,
        )


def read_settings(path: Path) -> Settings:
    """Read a settings file; its paths are relative to its folder. Raises GeneratorError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise GeneratorError(f"{path} cannot be read ({error})") from error
    for key, value in content.items():
        if key not in KEYS:
            raise GeneratorError(f"{path}: no setting {key!r}; there are {', '.join(KEYS)}")
        is_list_of_texts = isinstance(value, list) and all(isinstance(v, str) for v in value)
        if not isinstance(value, KEYS[key]) or (isinstance(value, list) and not is_list_of_texts):
            raise GeneratorError(f"{path}: {key} is {value!r}, not {_described(KEYS[key])}")
    folder = path.parent
    return Settings(
        _located(content.get("spec", ""), folder),
        folder / content["output"] if "output" in content else None,
        Choices(
            content.get("class-name", ""),
            content.get("package", ""),
            content.get("prefix", ""),
            content.get("base-url", ""),
        ),
        tuple(content.get("dialects", ())),
        tuple(content.get("formats", ())),
        folder / content["templates"] if "templates" in content else None,
        tuple(content.get("include", ())),
        tuple(content.get("exclude", ())),
        content.get("allow-remote-refs", False),
        tuple(content.get("models", ())),
    )


def write_settings(path: Path, settings: Settings) -> None:
    """Write a settings file, or bring one up to date: its comments and order stay."""
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else None
    if document is None:
        document = tomlkit.document()
        document.add(tomlkit.comment(HEADER))
    for key, value in _content(settings, path.parent).items():
        if value:
            document[key] = value
        else:
            document.pop(key, None)
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(tomlkit.dumps(document), encoding="utf-8", newline="\n")
    os.replace(aside, path)


def _content(settings: Settings, folder: Path) -> dict[str, Any]:
    choices = settings.choices
    spec = settings.spec if _is_address(settings.spec) else _relative(Path(settings.spec), folder)
    return {
        "spec": spec,
        "output": _relative(settings.output, folder),
        "class-name": choices.class_name,
        "package": choices.package,
        "prefix": choices.prefix,
        "base-url": choices.base_url,
        "dialects": list(settings.dialects),
        "formats": list(settings.formats),
        "templates": _relative(settings.templates, folder),
        "include": list(settings.include),
        "exclude": list(settings.exclude),
        "models": list(settings.models),
        "allow-remote-refs": settings.allow_remote,
    }


def named(settings: Settings, class_name: str, package: str, prefix: str) -> Settings:
    """Settings that keep the names that were given or derived, whatever the title becomes."""
    choices = replace(settings.choices, class_name=class_name, package=package, prefix=prefix)
    return replace(settings, choices=choices)


def _is_address(spec: str) -> bool:
    return spec.startswith(("http://", "https://"))


def _located(spec: str, folder: Path) -> str:
    return spec if not spec or _is_address(spec) else str(folder / spec)


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _described(kind: type) -> str:
    return {str: "a text", list: "a list of texts", bool: "true or false"}[kind]
