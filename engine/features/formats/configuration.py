"""The fields of a configuration file, each checked when it is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engine.errors import FeatureSetError

T = TypeVar("T")


class Configuration:
    """A mapping that was read from `source`."""

    def __init__(self, source: Path, fields: Mapping[str, Any]):
        self.source = source
        self.fields = dict(fields)

    @classmethod
    def of_json(cls, path: Path) -> "Configuration":
        try:
            return cls._checked(path, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise FeatureSetError(f"{path} cannot be read: {error}") from error

    @classmethod
    def of_yaml(cls, path: Path) -> "Configuration":
        try:
            return cls._checked(path, yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise FeatureSetError(f"{path} cannot be read: {error}") from error

    @classmethod
    def _checked(cls, path: Path, fields: Any) -> "Configuration":
        if not isinstance(fields, dict):
            raise FeatureSetError(f"{path} is no mapping of names to values")
        return cls(path, fields)

    def get(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """A field, of this kind if it is there and not null."""
        value = self.fields.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise FeatureSetError(
                f"{self.source}: {name} is {value!r}, not of type {kind.__name__}"
            )
        return value

    def require(self, name: str, kind: type[T]) -> T:
        """A field that has to be there."""
        value = self.get(name, kind)
        if value is None:
            raise FeatureSetError(f"{self.source} has no {name}")
        return value

    def count(self, name: str, most: int) -> int:
        """A number from 1 to `most`."""
        value = self.require(name, int)
        if not 1 <= value <= most:
            raise FeatureSetError(f"{self.source}: {name} is {value}, not from 1 to {most}")
        return value

    def refuse(self, name: str, *allowed: Any) -> None:
        """Raise FeatureSetError for a field with a value that is not computed here."""
        value = self.fields.get(name)
        if value is not None and value not in allowed:
            raise FeatureSetError(f"{self.source}: {name} {value!r} is not computed here")
