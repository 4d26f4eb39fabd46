"""The models that this machine has, under the names by which they load."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from engine.cache import models_folder


@dataclass(frozen=True)
class StoredModel:
    """A model on disk: `nbytes` is what its files take."""

    name: str
    folder: Path
    nbytes: int


def stored_models() -> list[StoredModel]:
    """Models pulled into the cache, then those in the Hugging Face hub's, each in order of name."""
    return [*_pulled(), *hub_models()]


def _pulled() -> Iterator[StoredModel]:
    for folder in sorted(models_folder().glob("[!.]*")):
        yield StoredModel(folder.name, folder, sum(f.stat().st_size for f in folder.iterdir()))


def hub_models() -> list[StoredModel]:
    """Models in the Hugging Face hub's cache, in order of name."""
    return sorted(_from_hub(), key=lambda model: model.name)


def _from_hub() -> Iterator[StoredModel]:
    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return
    for repository in repositories:
        for revision in repository.revisions:
            if "main" in revision.refs and any(revision.snapshot_path.glob("model*.safetensors")):
                yield StoredModel(repository.repo_id, revision.snapshot_path, revision.size_on_disk)
