"""The files that feature sets come in, each format in one module: whether it reads a folder, and
how."""

import re
from collections.abc import Iterator
from pathlib import Path

from engine.errors import FeatureSetError
from engine.features.formats import circuit_tracer, gemma_scope, sae_lens, sparsify
from engine.features.layers import AnySet
from engine.features.places import Places

FORMATS = {
    "sae_lens": sae_lens,
    "sparsify": sparsify,
    "circuit_tracer": circuit_tracer,
    "gemma_scope": gemma_scope,
}


def load_feature_sets(folder: Path, places: Places | None = None) -> list[AnySet]:
    """The feature sets of a folder, or of all folders in it, in the order of their numbers.

    Raises FeatureSetError if there is none, or one cannot be computed exactly; `places`, which
    count more than the files', are for one set alone.
    """
    if not folder.is_dir():
        raise FeatureSetError(f"{folder} is no folder")
    found = list(_folders(folder))
    if not found:
        raise FeatureSetError(
            f"neither {folder} nor a folder in it has a feature set in a format of "
            f"{', '.join(FORMATS)}"
        )
    if places is not None and len(found) > 1:
        raise FeatureSetError(f"{folder} has {len(found)} feature sets; hook_name is for one")
    return [each for path, name in found for each in FORMATS[name].load(path, places)]


DEEPEST = 4
"""Folders in folders that are looked into."""


def _folders(folder: Path, depth: int = 0) -> Iterator[tuple[Path, str]]:
    """Each folder with a feature set, and its format; none in such a folder counts again."""
    for name, module in FORMATS.items():
        if module.reads(folder):
            yield folder, name
            return
    if depth < DEEPEST:
        inside = [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]
        for path in sorted(inside, key=_natural):
            yield from _folders(path, depth + 1)


def _natural(path: Path) -> list[tuple[int, str]]:
    words = re.split(r"(\d+)", path.name)
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]
