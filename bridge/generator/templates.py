"""The Jinja templates: ours, and a user's folder in front of them."""

from pathlib import Path
from typing import Any

import jinja2

from bridge.generator.errors import TemplateError
from bridge.resources import resource_folder


class Templates:
    """Templates by name, for example `classes/ActivationTensor.st`; a user's come first."""

    def __init__(self, overrides: Path | None = None) -> None:
        folders = [folder for folder in (overrides, resource_folder("templates")) if folder]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
        )
        self._environment.filters["quoted"] = quoted

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


def quoted(text: str) -> str:
    """A Smalltalk string literal."""
    return "'" + text.replace("'", "''") + "'"
