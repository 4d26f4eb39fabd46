"""The models that are loaded, by id."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock

from engine.captures.hook_manager import ActivationHookManager
from engine.captures.hooks import HookSpec, resolve_hooks
from engine.contract.schemas import Adapter, Correction, LoadModelRequest, ModelEntry
from engine.errors import InvalidRequestError
from engine.features.bound import BoundSet, Encoding
from engine.models.loading import Progress
from engine.runs.kit import NOT_SPREAD, ModelKit, Spread, load_model
from engine.server.errors import ImpossibleError, LimitError, UnknownModelError
from engine.server.state.example_searches import ExampleSearches
from engine.server.state.feature_sets import FeatureSets
from engine.turns import give_way

log = logging.getLogger(__name__)
MOST_SESSIONS = 256
"""Sessions that may have hooks on one model."""
NOT_OF_THE_KIT = {"model_path", "model_id", "context_length", "prefill_step_size"}
"""What a request to load has beside the options of loading."""


@dataclass
class LoadedModel:
    """A model, how it was asked for, and the hooks that each session registered on it.

    A session is None for clients that name none; theirs are the hooks of the kit.
    """

    kit: ModelKit
    request: LoadModelRequest
    created: int
    lock: Lock = field(default_factory=Lock)  # held while the tokenizer is used
    feature_sets: FeatureSets = field(default_factory=FeatureSets)
    example_searches: ExampleSearches = field(default_factory=ExampleSearches)
    _hooks: dict[str, ActivationHookManager] = field(default_factory=dict)
    _registering: Lock = field(default_factory=Lock)

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
            context_length=self.context_length,
            max_position_embeddings=info.max_position_embeddings,
            intermediate_size=info.intermediate_size,
            quantization=info.quantization,
            corrections=[
                Correction(name=each.name, reason=each.reason) for each in self.kit.corrections
            ],
            adapter=self._adapter,
            warnings=self.kit.warnings,
            components=list(info.components),
            absent_layers=self.kit.structure.absent_layers,
        )

    @property
    def context_length(self) -> int | None:
        """Positions that a prompt and its text may have: as asked for, or as the model says."""
        return self.request.context_length or self.kit.info.context_length

    @property
    def _adapter(self) -> Adapter | None:
        if (adapter := self.kit.adapter) is None:
            return None
        return Adapter(
            name=adapter.name,
            format=adapter.format,
            kind=adapter.kind,
            modules=list(adapter.modules),
            rank=adapter.rank,
            scale=adapter.scale,
        )

    def hooks_of(self, session: str | None) -> ActivationHookManager:
        """The hooks that a session registered."""
        if session is None:
            return self.kit.hooks
        return self._hooks.get(session) or ActivationHookManager(self.kit.structure)

    def hooks_on_features(self, bound: BoundSet) -> list[str]:
        """The ids of all registered hooks on a feature set."""
        managers = [self.kit.hooks, *self._hooks.values()]
        hooks = (hook for each in managers for hook in each.resolved)
        return [
            hook.hook_id
            for hook in hooks
            if isinstance(hook.encode, Encoding) and hook.encode.bound is bound
        ]

    def register(self, session: str | None, specs: Sequence[HookSpec], most: int) -> list[str]:
        """Register all of them or none for a session, which has `most` hooks at most, one a layer.

        Raises LimitError, and what `ActivationHookManager.register_each` raises.
        """
        with self._registering:
            manager = self.hooks_of(session)
            count = len(manager.resolved) + len(resolve_hooks(specs, self.kit.structure))
            if count > most:
                raise LimitError(
                    f"hooks: {count} hooks, one a layer, would be registered on {self.id}; at "
                    f"most {most} may be.",
                    "hooks",
                )
            others = {name: each for name, each in self._hooks.items() if each.hooks}
            if session is not None and session not in others and len(others) >= MOST_SESSIONS:
                raise LimitError(f"{len(others)} sessions have hooks on {self.id} already.")
            ids = manager.register_each(specs)
            if session is not None:
                self._hooks = others | {session: manager}
        return ids

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The id of each token, by its name in the tokenizer."""
        with self.lock:
            return self.kit.tokenizer.get_vocab()

    def token_texts(self, tokens: Iterable[int]) -> list[str]:
        """The exact text of each token."""
        with self.lock:
            return [self.kit.pieces.text(token) for token in tokens]

    def token_keys(self, tokens: Iterable[int]) -> list[str]:
        """For each token a text that no other one has: its own, if that is so."""
        with self.lock:
            return [self.kit.pieces.key(token) for token in tokens]

    def token_bytes(self, token: int) -> list[int]:
        """The bytes of a token's text; none, of a token without text."""
        with self.lock:
            return list(self.kit.pieces[token].bytes)


class Models:
    """Loaded models; the one loaded last serves requests that name none.

    `context_tokens` is the largest context of a model that does not say how large it may be;
    `spread` is how each is spread over ranks.
    """

    def __init__(
        self,
        most: int,
        context_tokens: int,
        spread: Callable[[], Spread] = lambda: NOT_SPREAD,
    ) -> None:
        self._most = most
        self._spread = spread
        self._context_tokens = context_tokens
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

    def of_folder(self, folder: Path) -> LoadedModel | None:
        """The first that was loaded from this folder, without an adapter."""
        for model in self.all():
            path = model.kit.path
            if path is not None and path.resolve() == folder.resolve() and not model.kit.adapter:
                return model
        return None

    def load(
        self, request: LoadModelRequest, progress: Progress = lambda done, total: None
    ) -> LoadedModel:
        """Load a model, or return the one that the same request loaded. For the generation thread,
        on which one model is loaded at a time.

        Raises ModelNotFoundError, UnsupportedModelError, InvalidRequestError if another model has
        the id, LimitError if as many are loaded as may be.
        """
        while self.loading:
            give_way(lambda: not self.loading)
        model_id = request.model_id or Path(request.model_path).name
        if known := self._loaded.get(model_id):
            if _same(known.request, request):
                return known
            raise InvalidRequestError(
                f"model_id: {model_id!r} is loaded already, from another folder or with other "
                "options; unload it first or give another model_id"
            )
        if len(self._loaded) >= self._most:
            raise LimitError(
                f"{len(self._loaded)} models are loaded, as many as may be: "
                f"{', '.join(self._loaded)}; unload one first."
            )
        self.loading = True
        started = time.monotonic()
        log.info("loading %r", request.model_path)
        try:
            options = request.model_dump(exclude=NOT_OF_THE_KIT)
            kit = load_model(
                request.model_path,
                model_id=model_id,
                progress=progress,
                spread=self._spread(),
                **options,
            )
            kit.try_caches()
            self._check_context(request.context_length, kit)
        finally:
            self.loading = False
        log.info("loaded %r in %.1f s", model_id, time.monotonic() - started)
        with self._lock:
            self._loaded[model_id] = LoadedModel(kit, request, int(time.time()))
        return self._loaded[model_id]

    def _check_context(self, asked: int | None, kit: ModelKit) -> None:
        most = kit.info.context_length or self._context_tokens
        if asked is not None and asked > most:
            raise ImpossibleError(
                f"context_length: {asked} is more than the model's {most}.", "context_length"
            )

    def unload(self, model_id: str) -> None:
        self.get(model_id)
        with self._lock:
            self._loaded.pop(model_id, None)


def _same(one: LoadModelRequest, other: LoadModelRequest) -> bool:
    """Whether two requests load the same weights the same way."""
    return one.model_copy(update={"model_id": None}) == other.model_copy(update={"model_id": None})
