"""The Jinja templates: ours, and a user's folder in front of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from bridge.generator import text
from bridge.generator.errors import TemplateError
from bridge.resources import resource_folder


class Templates:
    """Templates by name, for example `classes/ActivationTensor.st`; a user's come first."""

    def __init__(self, overrides: Path | None = None) -> None:
        if overrides and not overrides.is_dir():
            raise TemplateError(f"there is no folder of templates {overrides}")
        ours = resource_folder("templates")
        self._overrides = overrides
        self._used: set[str] = set()
        self._known = {p.relative_to(ours).as_posix() for p in ours.rglob("*") if p.is_file()}
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(self._load),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
        )
        self._loader = jinja2.FileSystemLoader([f for f in (overrides, ours) if f])
        self._environment.filters |= {
            "chunk": text.chunk,
            "comment": text.comment,
            "from_json": json.loads,
            "groups": text.groups,
            "line": text.markdown,
            "literal": text.literal,
            "name": text.name,
            "percent": text.percent,
            "prose": text.prose,
            "protocol": text.protocol,
            "strings": text.strings,
            "symbol": text.symbol,
            "undouble": text.undouble,
        }

    def has(self, name: str) -> bool:
        try:
            self._environment.get_template(name)
        except jinja2.TemplateNotFound:
            return False
        return True

    def render(self, name: str, **context: Any) -> str:
        try:
            return self._environment.get_template(name).render(context)
        except jinja2.TemplateNotFound as error:
            raise TemplateError(f"there is no template {error.name}") from error
        except jinja2.TemplateError as error:
            raise TemplateError(f"{name}: {error.message}") from error

    def check_all_used(self) -> None:
        """Raise TemplateError for a user's file that takes no template's place and is not used."""
        if self._overrides is None:
            return
        theirs = {
            p.relative_to(self._overrides).as_posix()
            for p in self._overrides.rglob("*")
            if p.is_file() and not p.name.startswith(".")
        }
        if useless := sorted(theirs - self._known - self._used):
            raise TemplateError(
                f"{self._overrides}: no template of ours is called {', '.join(useless)}, "
                "and none uses it"
            )

    def _load(self, name: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source = self._loader.get_source(self._environment, name)
        self._used.add(name)
        return source
