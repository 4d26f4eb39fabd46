"""One loaded model with its tokenizer, structure and registered hooks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import generation_stream, maybe_quantize_kv_cache, wired_limit
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from engine.captures.hook_manager import ActivationHookManager
from engine.captures.hooks import ActivationHookSpec
from engine.captures.records import Activations
from engine.components import ComponentType
from engine.errors import InvalidRequestError, UnsupportedOperationError
from engine.machine.gaps import gaps_explained
from engine.models.adapters import Adapter
from engine.models.corrections import Correction
from engine.models.loading import Progress, load, locate_adapter
from engine.runs.chat import ChatOptions, chat_tokens
from engine.runs.encoding import encode, framed
from engine.runs.footprint import Footprint
from engine.runs.grammars import Grammars
from engine.runs.pieces import Pieces
from engine.runs.reusing import reason_read_anew
from engine.runs.sharing import reason_apart
from engine.runs.steps import layer_by_layer
from engine.runs.tokenizer import Tokenizer
from engine.structure.resolver import Structure, resolve
from engine.taps.observation import observed
from engine.taps.points import Point
from engine.weights.catalogue import Weights

POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
)
"""How configurations call the number of positions that a model was made for."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model is, in the names of its architecture's field.

    `context_length` is the number of positions that a prompt and what is generated after it may
    have together: that of its learned embeddings of positions, which is a limit, or else
    `max_position_embeddings`, beyond which a model runs and was not trained. None if neither says.
    The last two are what its configuration says, if it does: the most positions that it was made
    for, and the width inside the MLP of a block, of which a mixture of experts has none.
    """

    architecture: str
    layers: int
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    hidden_size: int
    vocab_size: int
    quantization: str | None
    components: tuple[ComponentType, ...]
    context_length: int | None
    max_position_embeddings: int | None
    intermediate_size: int | None


@dataclass(eq=False)
class ModelKit:
    """A loaded model, ready to be looked into.

    Raises InvalidRequestError if `kv_bits` are given for a cache that cannot be quantised.
    """

    model: nn.Module
    tokenizer: Tokenizer
    config: dict
    model_id: str
    path: Path | None
    structure: Structure
    corrections: tuple[Correction, ...] = ()
    adapter: Adapter | None = None
    max_kv_size: int | None = None
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 0
    info: ModelInfo = field(init=False)
    hooks: ActivationHookManager = field(init=False)

    def __post_init__(self):
        self.info = _info(self.config, self.structure)
        self.hooks = ActivationHookManager(self.structure)
        if self.kv_bits is not None:
            self._check_quantised_cache()

    @cached_property
    def weights(self) -> Weights:
        """The weights by the field's names: found when they are asked for first.

        Raises UnsupportedOperationError for a model that is spread over ranks.
        """
        if self.structure.shares:
            raise UnsupportedOperationError(
                "the weights of a model that is spread over ranks are in parts: load it in one "
                "process to read them"
            )
        return Weights(self.structure)

    @cached_property
    def pieces(self) -> Pieces:
        """The exact text and bytes of single tokens."""
        return Pieces(self.tokenizer)

    @cached_property
    def grammars(self) -> Grammars:
        """Compiles grammars for its tokens, all of which are read first, in a second or so."""
        vocabulary = self.pieces.vocabulary(self.info.vocab_size)
        return Grammars(vocabulary, self.special_tokens, self.tokenizer.eos_token_ids)

    @cached_property
    def special_tokens(self) -> frozenset[int]:
        """The tokens that are no text: beginnings, ends, the markers of a chat's turns."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            [
                *self.tokenizer.all_special_ids,
                *self.tokenizer.eos_token_ids,
                *(token for token, each in added if each.special),
            ]
        )

    @cached_property
    def footprint(self) -> Footprint:
        """What passes take in memory: found when it is asked for first."""
        return Footprint(self.structure)

    def make_cache(self) -> list:
        """Empty caches of the model, rotating ones of `max_kv_size` for layers without a limit."""
        caches = make_prompt_cache(self.model)
        if self.max_kv_size is None:
            return caches
        return [
            RotatingKVCache(self.max_kv_size, keep=4) if type(cache) is KVCache else cache
            for cache in caches
        ]

    def quantise(self, caches: list) -> None:
        """Quantise caches that are long enough for it, if the kit has `kv_bits`."""
        maybe_quantize_kv_cache(caches, self.quantized_kv_start, self.kv_group_size, self.kv_bits)

    def wired(self) -> AbstractContextManager[None]:
        """Keep the weights in the memory of a GPU, for several passes."""
        streams = [generation_stream]  # mlx-lm's own, of a kind that its annotation leaves out
        return wired_limit(self.model, streams)  # type: ignore[arg-type]

    @cached_property
    def picks_keys(self) -> bool:
        """Whether attention sees some keys alone, which an indexer picks for each token."""
        return any(name.endswith("indexer") for name, _ in self.model.named_modules())

    @cached_property
    def reason_apart(self) -> str | None:
        """Why passes of several generations cannot be one; None if they can."""
        if self.reason_reads_apart is None:
            return None
        return reason_apart(self.model, self.make_cache)

    @cached_property
    def reason_reads_apart(self) -> str | None:
        """Why prompts of several generations cannot be read in one pass; None if they can."""
        return reason_apart(self.model, self.make_cache, padded=True)

    @cached_property
    def reason_read_anew(self) -> str | None:
        """Why a prompt is read anew even if it begins as an earlier one; None if it need not be."""
        if self.kv_bits is not None:
            return "keys that a prompt's own pass sees exactly would be quantised ones"
        return reason_read_anew(self.model, self.make_cache)

    def try_caches(self) -> None:
        """Find out now what passes can be shared and what caches reused, rather than when somebody
        waits for it."""
        _ = self.reason_apart, self.reason_read_anew

    def _check_quantised_cache(self) -> None:
        caches = self.make_cache()
        if any(isinstance(cache, RotatingKVCache) for cache in caches):
            raise InvalidRequestError("kv_bits: this model's rotating cache cannot be quantised")
        if not any(hasattr(cache, "to_quantized") for cache in caches):
            kinds = ", ".join(sorted({type(cache).__name__ for cache in caches}))
            raise InvalidRequestError(f"kv_bits: this model's cache, {kinds}, cannot be quantised")
        widths = {
            shape[-1]
            for point, shape in self.structure.shapes.items()
            if point.component in (ComponentType.KEY, ComponentType.VALUE)
        }
        for width in widths:
            if width % self.kv_group_size:
                raise InvalidRequestError(
                    f"kv_group_size: {self.kv_group_size} does not divide the heads' width {width}"
                )
        self._try_quantised_cache(caches)

    def _try_quantised_cache(self, caches: list) -> None:
        """Run one decoding step: some attention reads plain arrays only, and some GPUs have no
        product for quantised keys."""
        by_layer = layer_by_layer(self.structure)
        with observed(self.structure, by_layer):
            self.model(mx.zeros((1, 2), dtype=mx.int32), cache=caches)
        maybe_quantize_kv_cache(caches, 0, self.kv_group_size, self.kv_bits)
        try:
            with gaps_explained(), observed(self.structure, by_layer):
                mx.eval(self.model(mx.zeros((1, 1), dtype=mx.int32), cache=caches))
        except UnsupportedOperationError as error:
            raise InvalidRequestError(f"kv_bits: {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            what = str(error).partition("\n")[0]
            raise InvalidRequestError(
                f"kv_bits: attention of {self.info.architecture or 'this model'} does not read a "
                f"quantised cache: {what}"
            ) from error

    def register_activation_hook(self, spec: ActivationHookSpec) -> str:
        """Capture on every later run; returns the id. Raises what `resolve_hooks` raises."""
        return self.hooks.register(spec)

    def unregister_activation_hook(self, hook_id: str) -> None:
        """Stop capturing, and forget what this hook captured. Raises UnknownHookError."""
        self.hooks.unregister(hook_id)

    def clear_activation_hooks(self) -> None:
        """Remove all registered hooks and what they captured."""
        self.hooks.clear()

    def get_captured_activations(self) -> Activations:
        """What the registered hooks captured since the last clearing, by hook id."""
        return self.hooks.captured()

    def clear_captured_activations(self) -> None:
        """Forget what the registered hooks captured; they go on capturing."""
        self.hooks.clear_captured()

    @property
    def warnings(self) -> list[str]:
        """What to know of the model before its numbers are relied upon."""
        most = self.info.context_length
        if most is None or self.structure.learned_positions is not None:
            return []
        return [
            f"the model was made for {most} positions (max_position_embeddings): it runs more of "
            "them, and what it computes there may mean nothing"
        ]

    def warnings_of(self, positions: int) -> list[str]:
        """What to know of a run over so many positions: whether the model was made for fewer."""
        most = self.info.context_length
        if most is None or positions <= most:
            return []
        return [f"{positions} positions were run; {each}" for each in self.warnings]

    def check_tokens(self, batch: Sequence[Sequence[int]]) -> None:
        """Raise InvalidRequestError for no tokens, unequal lengths, or ids that do not exist."""
        lengths = sorted({len(sequence) for sequence in batch})
        if not lengths or lengths[0] == 0:
            raise InvalidRequestError("tokens: at least one token is needed")
        if len(lengths) > 1:
            raise InvalidRequestError(f"tokens: sequences of one length are needed, not {lengths}")
        vocab = self.info.vocab_size
        for token in (token for sequence in batch for token in sequence):
            if not 0 <= token < vocab:
                raise InvalidRequestError(f"tokens: {token} is outside the vocabulary of {vocab}")


class Spread(Protocol):
    """How a model is spread over ranks."""

    def split(self, model: nn.Module) -> None:
        """Drop what is not this rank's of a model whose weights have not been read yet."""

    def structure(self, model: nn.Module) -> Structure:
        """The hook points of a model that was split and read."""


class NotSpread:
    """This process has the whole model."""

    def split(self, model: nn.Module) -> None:
        pass

    def structure(self, model: nn.Module) -> Structure:
        return resolve(model)


NOT_SPREAD = NotSpread()


def load_model(
    path_or_id: str | Path,
    *,
    model_id: str | None = None,
    dtype: str | None = None,
    max_kv_size: int | None = None,
    kv_bits: int | None = None,
    kv_group_size: int = 64,
    quantized_kv_start: int = 0,
    corrections: bool = True,
    adapter_path: str | Path | None = None,
    spread: Spread = NOT_SPREAD,
    progress: Progress = lambda done, total: None,
) -> ModelKit:
    """Load a model folder or hub id, with the adapter of another folder or hub id if one is given.

    An adapter, of mlx-lm or PEFT, is merged into the weights.

    What mlx-lm reads otherwise than the model's author wrote it is corrected, and listed in the
    kit's `corrections`; without `corrections` the model computes what it does in mlx-lm.

    `max_kv_size` limits the cache to so many tokens, the first 4 and the newest; `kv_bits`
    quantises it from `quantized_kv_start` tokens on. `progress` is called with how many of how many
    weights have been read. `spread` is how the model is spread over ranks, all of which have to
    load it. Raises ModelNotFoundError, UnsupportedModelError, InvalidRequestError.
    """
    adapter = None if adapter_path is None else locate_adapter(adapter_path)
    loaded = load(
        path_or_id,
        dtype=dtype,
        corrections=corrections,
        adapter=adapter,
        split=spread.split,
        progress=progress,
    )
    return ModelKit(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        config=loaded.config,
        model_id=model_id or Path(path_or_id).name,
        path=loaded.folder,
        structure=spread.structure(loaded.model),
        corrections=loaded.corrections,
        adapter=adapter,
        max_kv_size=max_kv_size,
        kv_bits=kv_bits,
        kv_group_size=kv_group_size,
        quantized_kv_start=quantized_kv_start,
    )


def tokenize(
    kit: ModelKit,
    text_or_messages: str | Sequence[dict],
    *,
    add_special_tokens: bool | None = None,
    chat: ChatOptions | None = None,
) -> list[int]:
    """Token ids of a text, or of chat messages under the model's chat template.

    `add_special_tokens` adds those that the tokenizer puts before and after a text, unless they are
    there already: by default to a text, not to messages, whose template writes them. `chat` says
    how messages are rendered. Raises InvalidRequestError and ChatTemplateError.
    """
    if isinstance(text_or_messages, str):
        special = add_special_tokens is not False
        return encode(kit.tokenizer, text_or_messages, add_special_tokens=special).tokens
    tokens = chat_tokens(kit.tokenizer, text_or_messages, chat or ChatOptions())
    return framed(kit.tokenizer, tokens).tokens if add_special_tokens else tokens


def single_token(kit: ModelKit, text: str) -> int:
    """The id of the token that a text is, if need be behind a space.

    Raises InvalidRequestError that lists the tokens which the text is made of.
    """
    return kit.pieces.one(text)


def _info(config: dict, structure: Structure) -> ModelInfo:
    query = _first_shape(structure, ComponentType.QUERY)
    key = _first_shape(structure, ComponentType.KEY)
    quantization = config.get("quantization")
    text = config.get("text_config", config)
    positions = _number(text, *POSITIONS)
    is_dense = ComponentType.ROUTER not in structure.components
    return ModelInfo(
        architecture=config.get("model_type", type(structure.model).__module__.split(".")[-1]),
        layers=structure.layers,
        heads=query[1] if query else None,
        kv_heads=key[1] if key else None,
        head_dim=query[-1] if query else None,
        hidden_size=structure.shapes[Point(None, ComponentType.EMBEDDING)][-1],
        vocab_size=structure.shapes[Point(None, ComponentType.LOGITS)][-1],
        quantization=quantization
        and f"{quantization['bits']}-bit, group {quantization['group_size']}",
        components=structure.components,
        context_length=structure.learned_positions or positions,
        max_position_embeddings=positions,
        intermediate_size=_number(text, "intermediate_size", "n_inner") if is_dense else None,
    )


def _number(config: dict, *names: str) -> int | None:
    """The first of some fields that is one number, not a list of one a layer."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _first_shape(structure: Structure, component: ComponentType) -> tuple[int, ...] | None:
    return next((s for p, s in structure.shapes.items() if p.component is component), None)
