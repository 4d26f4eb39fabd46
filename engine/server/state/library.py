"""The models that clients may load: below the model roots and, where hub ids are allowed, those of
the hub that are on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.contract.schemas.base import LONGEST_NAME
from engine.errors import EngineError
from engine.models.stored import hub_models
from engine.models.weight_files import weight_files
from engine.server.state.settings import Settings

DEPTH = 3
"""How many folders below a model root a model's folder may lie, as `publisher/model` does."""


@dataclass(frozen=True)
class Stored:
    """A model on this machine: `key` names it among all, `model_path` is what it loads by."""

    key: str
    folder: Path
    model_path: str


def library(settings: Settings) -> Iterator[Stored]:
    """All of them, in the order of the roots."""
    for root in settings.model_roots:
        root = root.resolve()
        for depth in range(DEPTH + 1):
            for config in sorted(root.glob("/".join(["*"] * depth + ["config.json"]))):
                yield _below(root, config.parent)
    if settings.allow_hub:
        for model in hub_models():
            if _is_whole(model.folder):
                yield Stored(model.name, model.folder, model.name)


def find(settings: Settings, key: str) -> Stored | None:
    """The one of this key, if there is one."""
    if len(key) > LONGEST_NAME:
        return None
    return next((stored for stored in library(settings) if stored.key == key), None)


def _below(root: Path, folder: Path) -> Stored:
    key = root.name if folder == root else str(folder.relative_to(root))
    return Stored(key, folder, str(folder))


def _is_whole(folder: Path) -> bool:
    """Whether all weights are there, of a model that may still be coming."""
    try:
        weight_files(folder)
    except EngineError:
        return False
    return True
