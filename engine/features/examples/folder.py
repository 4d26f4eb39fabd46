"""A search for examples in a folder: what is searched, how far it is, what it found."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from engine.errors import InvalidRequestError
from engine.features.bound import BoundLayer, BoundSet
from engine.features.documents import TextFiles
from engine.features.examples.results import found
from engine.features.examples.search import ExampleSearch, Progress, restore, save
from engine.features.examples.settings import ExampleSettings
from engine.features.formats import load_feature_sets
from engine.runs.kit import ModelKit

SETTINGS, STATE, FOUND = "search.json", "search.safetensors", "examples.jsonl"
SECONDS_BETWEEN = 60
"""How often a search is saved while it runs."""


@dataclass(frozen=True)
class ExampleFolder:
    """The files of a search."""

    path: Path

    def search(
        self,
        kit: ModelKit,
        features: Path,
        texts: TextFiles,
        settings: ExampleSettings,
        layer: int | None = None,
        chosen: Sequence[int] | None = None,
        *,
        resume: bool = False,
    ) -> ExampleSearch:
        """A new search, for which the folder has to be empty, or the one that is there.

        Raises InvalidRequestError for a folder that is not empty, or a search in it for something
        else; FeatureSetError, UnknownFeatureError, UnknownLayerError.
        """
        bound = _layer(kit, features, layer, chosen)
        search = ExampleSearch(kit, bound, texts, settings, chosen)
        what = {
            "features": str(features.resolve()),
            "layer": bound.reads.point.layer,
            "chosen": None if chosen is None else list(chosen),
            "model": kit.model_id,
            "texts": str(texts.path.resolve()),
            "text_bytes": texts.nbytes,
            "settings": settings.to_dict(),
        }
        if resume:
            self._check(what)
            if (self.path / STATE).is_file():
                restore(search, self.path / STATE)
            return search
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InvalidRequestError(
                f"output: {str(self.path)!r} is not empty; a search that is there can be resumed"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / SETTINGS).write_text(json.dumps(what, indent=2))
        return search

    def run(
        self,
        search: ExampleSearch,
        progress: Progress = lambda done, total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Run a search, and save it now and then; returns whether it is done."""
        saved = monotonic()

        def report(done: int, total: int) -> None:
            nonlocal saved
            if monotonic() - saved > SECONDS_BETWEEN:
                save(search, self.path / STATE)
                saved = monotonic()
            progress(done, total)

        done = search.run(report, stopped)
        save(search, self.path / STATE)
        return done

    def write(self, kit: ModelKit, search: ExampleSearch) -> None:
        """Write a line of JSON a feature."""
        with (self.path / FOUND).open("w", encoding="utf-8") as file:
            for feature in found(kit, search):
                file.write(json.dumps(_finite(asdict(feature)), ensure_ascii=False) + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was written, a feature at a time."""
        with (self.path / FOUND).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def _check(self, what: dict[str, Any]) -> None:
        try:
            known = json.loads((self.path / SETTINGS).read_text())
        except OSError as error:
            raise InvalidRequestError(
                f"output: there is no search in {str(self.path)!r}: {error}"
            ) from error
        for name, value in what.items():
            if known[name] != value:
                raise InvalidRequestError(
                    f"{name}: the search in {self.path} began with {known[name]}, not {value}"
                )


def _layer(
    kit: ModelKit, folder: Path, layer: int | None, chosen: Sequence[int] | None
) -> BoundLayer:
    """The one layer of the sets in a folder that is meant, on the model."""
    every = [BoundSet(each.name, each, kit.structure) for each in load_feature_sets(folder)]
    for bound in every:
        bound.check_features(chosen)
    layers = [each for bound in every for each in bound.layers]
    meant = [each for each in layers if layer in (None, each.reads.point.layer)]
    if len(meant) != 1:
        known = ", ".join(str(each.reads.point.layer) for each in layers)
        raise InvalidRequestError(
            f"layer: {folder} has features of layers {known}; one of them is needed, not {layer}"
        )
    return meant[0]


def _finite(feature: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the last bin's upper edge is null."""
    edges = [None if edge == float("inf") else edge for edge in feature["edges"]]
    return {**feature, "edges": edges}
