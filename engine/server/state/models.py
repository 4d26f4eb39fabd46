"""The models that are loaded, by id."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from engine.contract.schemas import Correction, LoadModelRequest, ModelEntry
from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit, load_model
from engine.server.errors import UnknownModelError

log = logging.getLogger(__name__)
BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass
class LoadedModel:
    """A model, and how it was asked for."""

    kit: ModelKit
    request: LoadModelRequest
    created: int
    lock: Lock = field(default_factory=Lock)  # held while the tokenizer is used

    @property
    def id(self) -> str:
        return self.kit.model_id

    @property
    def entry(self) -> ModelEntry:
        info = self.kit.info
        return ModelEntry(
            id=self.id,
            created=self.created,
            owned_by="neuroscope-bridge",
            loaded=True,
            architecture=info.architecture,
            layers=info.layers,
            heads=info.heads,
            kv_heads=info.kv_heads,
            head_dim=info.head_dim,
            hidden_size=info.hidden_size,
            vocab_size=info.vocab_size,
            context_length=info.context_length,
            max_position_embeddings=info.max_position_embeddings,
            intermediate_size=info.intermediate_size,
            quantization=info.quantization,
            corrections=[
                Correction(name=each.name, reason=each.reason) for each in self.kit.corrections
            ],
            warnings=self.kit.warnings,
            components=list(info.components),
            absent_layers=self.kit.structure.absent_layers,
        )

    def token_texts(self, tokens: Iterable[int]) -> list[str]:
        """The text of each token by itself; of part of a character, its name in the vocabulary."""
        with self.lock:
            return [self._token_text(token) for token in tokens]

    def _token_text(self, token: int) -> str:
        text = self.kit.tokenizer.decode([token])
        return self.kit.tokenizer.convert_ids_to_tokens(token) if BROKEN in text else text


class Models:
    """Loaded models; the one loaded last serves requests that name none."""

    def __init__(self) -> None:
        self._loaded: dict[str, LoadedModel] = {}
        self._lock = Lock()
        self.loading = False

    def all(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    def get(self, model_id: str | None) -> LoadedModel:
        with self._lock:
            if model_id in self._loaded:
                return self._loaded[model_id]
            if model_id is None and self._loaded:
                return next(reversed(self._loaded.values()))
            known = ", ".join(self._loaded) or "none"
        wanted = "No model" if model_id is None else f"No model {model_id!r}"
        raise UnknownModelError(f"{wanted} is loaded; loaded: {known}.", "model")

    def load(self, request: LoadModelRequest) -> LoadedModel:
        """Load a model, or return the one that the same request loaded. For the generation thread.

        Raises ModelNotFoundError, or InvalidRequestError if another model has the id.
        """
        model_id = request.model_id or Path(request.model_path).name
        if known := self._loaded.get(model_id):
            if _same(known.request, request):
                return known
            raise InvalidRequestError(
                f"model_id: {model_id!r} is loaded already, from {known.request.model_path!r} "
                "with other options; unload it first or give another model_id"
            )
        self.loading = True
        started = time.monotonic()
        log.info("loading %s", request.model_path)
        try:
            options = request.model_dump(exclude={"model_path", "model_id"})
            kit = load_model(request.model_path, model_id=model_id, **options)
        finally:
            self.loading = False
        log.info("loaded %s in %.1f s", model_id, time.monotonic() - started)
        with self._lock:
            self._loaded[model_id] = LoadedModel(kit, request, int(time.time()))
        return self._loaded[model_id]

    def unload(self, model_id: str) -> None:
        self.get(model_id)
        with self._lock:
            self._loaded.pop(model_id, None)


def _same(one: LoadModelRequest, other: LoadModelRequest) -> bool:
    """Whether two requests load the same weights the same way."""
    return one.model_copy(update={"model_id": None}) == other.model_copy(update={"model_id": None})
