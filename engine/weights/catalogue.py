"""All weights of a model by the field's names: what there is, in which shape, and the numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx
import numpy as np

from engine.errors import (
    InvalidRequestError,
    UnknownHeadError,
    UnknownLayerError,
    UnknownWeightError,
    WeightTooLargeError,
)
from engine.structure.resolver import Structure
from engine.structure.trace import traced
from engine.weights import attention, ends, mlp
from engine.weights.probe import Probe
from engine.weights.weight import Part, Weight, nbytes

WHOLE_MODEL = ends.NAMES
OF_LAYER = (*attention.NAMES, *mlp.NAMES)
CIRCUITS = {"OV": ("W_V", "W_O"), "QK": ("W_Q", "W_K")}
"""A head's circuits: the two weights that are multiplied."""
NAMES = (*WHOLE_MODEL, *OF_LAYER, *CIRCUITS)
SELECTORS = {
    "head": ("head", "kv_head"),
    "expert": ("expert",),
    "neuron": ("d_mlp",),
    "tokens": ("vocab",),
}
"""By which parameter an index on which axes is given."""
AT_ONCE = 8192
"""Tokens whose unembedding is read at once."""


@dataclass(frozen=True)
class Tensors:
    """A weight, or the two factors of a circuit, in float32 by name; `described` says what they
    are: their axes, the module that they come from, the key-value head of a circuit."""

    arrays: dict[str, np.ndarray]
    described: dict[str, str]


@dataclass(frozen=True)
class Listed:
    """A weight in the layers where it is alike (None: it is the whole model's).

    Where it is absent, `reason` says why, and `shape` and `axes` are empty.
    """

    name: str
    layers: list[int] | None
    axes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


class Weights:
    """The weights of a model, found once.

    Shapes and axes are TransformerLens's: ``W_E [vocab, d_model]``, ``W_pos [pos, d_model]``,
    ``W_U [d_model, vocab]``, ``W_Q [head, d_model, d_head]``, ``W_K`` and ``W_V``
    ``[kv_head, d_model, d_head]``, ``W_O [head, d_head, d_model]``, ``W_in`` and ``W_gate``
    ``[d_model, d_mlp]``, ``W_out [d_mlp, d_model]``, ``W_router [d_model, expert]``; with experts
    in the place of one MLP its weights have the first axis ``expert``. Constants by which the model
    multiplies what a weight makes are multiplied into it, so that ``head_output @ W_O``, summed
    over heads, with ``b_O``, is what attention adds to the stream. Norms are left out.
    """

    def __init__(self, structure: Structure):
        self.structure = structure
        probe = Probe(structure)
        found: dict[tuple[str, int | None], Weight | str] = {}
        trace = traced(structure.model)[0]
        found.update(((name, None), each) for name, each in ends.Ends(probe, trace).weights())
        finders = attention.Attention(probe), mlp.Mlps(probe)
        for layer in range(structure.layers):
            for finder in finders:
                found.update(((name, layer), each) for name, each in finder.weights(layer))
        self._found = found

    def __getitem__(self, key: tuple[str, int | None]) -> Weight:
        """A weight by name and layer. Raises UnknownWeightError, UnknownLayerError."""
        name, layer = key
        if name not in (*WHOLE_MODEL, *OF_LAYER):
            raise UnknownWeightError(f"no weight {name!r}; there are {', '.join(NAMES)}")
        if name in WHOLE_MODEL and layer is not None:
            raise UnknownLayerError(f"{name} is the whole model's: give no layer")
        last = self.structure.layers - 1
        if name in OF_LAYER and (layer is None or not 0 <= layer <= last):
            given = "no layer is given" if layer is None else f"no layer {layer}"
            raise UnknownLayerError(f"{name}: {given}; the model has layers 0 to {last}")
        found = self._found[name, layer]
        if isinstance(found, str):
            where = "the model" if layer is None else f"layer {layer}"
            present = ", ".join(self.present(layer)) or "none"
            raise UnknownWeightError(f"{where} has no {name}: {found}; it has {present}")
        return found

    @cached_property
    def mean_unembedding(self) -> mx.array:
        """The mean of ``W_U`` over the vocabulary, ``[d_model]``: what the mean of all logits reads
        of the final norm. Raises UnknownWeightError for a model without an unembedding."""
        unembedding = self["W_U", None]
        hidden, vocabulary = unembedding.shape
        total = mx.zeros(hidden)
        for first in range(0, vocabulary, AT_ONCE):
            part = list(range(first, min(first + AT_ONCE, vocabulary)))
            total = total + unembedding.array({"vocab": part}).sum(axis=1)
            mx.eval(total)
        return total / vocabulary

    def present(self, layer: int | None) -> list[str]:
        """The names of the weights of a layer (None: of the whole model)."""
        return [n for (n, at), each in self._found.items() if at == layer and not _absent(each)]

    def absence(self, name: str, layer: int | None) -> str:
        """Why a layer has no such weight; empty if it has one."""
        found = self._found[name, layer]
        return found if isinstance(found, str) else ""

    def listed(self) -> Iterator[Listed]:
        """All names, those of alike layers together."""
        for name in (*WHOLE_MODEL, *OF_LAYER):
            alike: dict[tuple, list[tuple[int | None, Weight | str]]] = {}
            for (each, layer), found in self._found.items():
                if each == name:
                    kind = (
                        ((), (), (), found)
                        if isinstance(found, str)
                        else (found.axes, found.shape, found.notes, "")
                    )
                    alike.setdefault(kind, []).append((layer, found))
            for (axes, shape, notes, reason), members in alike.items():
                layers = [layer for layer, _ in members if layer is not None]
                paths = tuple(w.path for _, w in members if isinstance(w, Weight))
                yield Listed(
                    name, None if name in WHOLE_MODEL else layers, axes, shape, paths, notes, reason
                )

    def read(
        self,
        name: str,
        *,
        layer: int | None = None,
        head: int | None = None,
        expert: int | None = None,
        neuron: int | None = None,
        tokens: Sequence[int] | None = None,
        most_bytes: int | None = None,
    ) -> Tensors:
        """A weight, or a part of it, in float32 under its name; of a circuit its factors.

        `head` is the key-value head for the weights of keys and values, the query head for the
        others; it takes the axis away, as `expert` and `neuron` do. `tokens` are the rows of W_E
        or the columns of W_U that are wanted. ``OV`` and ``QK`` of a head are ``A @ B`` with
        ``A [d_model, d_head]``, ``B [d_head, d_model]``: ``W_V @ W_O`` and ``W_Q @ W_K.T``
        (before rotation, norms and scaling).

        Raises UnknownWeightError, UnknownLayerError, UnknownHeadError, InvalidRequestError for
        another index that there is not, WeightTooLargeError for more than `most_bytes`.
        """
        given = {"head": head, "expert": expert, "neuron": neuron, "tokens": tokens}
        given = {name: index for name, index in given.items() if index is not None}
        if name in CIRCUITS:
            return self._circuit(name, layer, given, most_bytes)
        weight = self[name, layer]
        part = self._part(weight, given)
        _check_size(name, weight.shape_of(part), most_bytes)
        described = _described(weight, part)
        return Tensors({name: np.array(weight.array(part))}, described)

    def _circuit(
        self, name: str, layer: int | None, given: dict, most_bytes: int | None
    ) -> Tensors:
        if set(given) != {"head"}:
            raise UnknownHeadError(f"{name} is a circuit of one head: give layer and head alone")
        first, second = (self[each, layer] for each in CIRCUITS[name])
        queries = (second if name == "OV" else first).sizes["head"]
        head = _checked("head", given["head"], queries, UnknownHeadError)
        keys = (first if name == "OV" else second).sizes["kv_head"]
        part = {"head": head, "kv_head": head // (queries // keys)}
        _check_size(name, (2, *first.shape_of(part)), most_bytes)
        a, b = first.array(part), second.array(part)
        b = b if name == "OV" else b.T
        described = {
            "name": name,
            "layer": str(layer),
            "head": str(head),
            "kv_head": str(part["kv_head"]),
            "A": f"{first.name} of {first.path}",
            "B": f"{second.name}{'' if name == 'OV' else ' transposed'} of {second.path}",
        }
        return Tensors({"A": np.array(a), "B": np.array(mx.contiguous(b))}, described)

    def _part(self, weight: Weight, given: dict) -> Part:
        part: dict[str, int | Sequence[int]] = {}
        for parameter, index in given.items():
            axis = next((a for a in SELECTORS[parameter] if a in weight.sizes), None)
            if axis is None:
                axes = ", ".join(weight.axes)
                raise InvalidRequestError(f"{parameter}: {weight.name} has the axes {axes} alone")
            size = weight.sizes[axis]
            if parameter == "tokens":
                chosen = [_checked("tokens", token, size) for token in index]
                part[axis] = chosen
                if not chosen:
                    raise InvalidRequestError("tokens: at least one token is needed")
            else:
                error = UnknownHeadError if parameter == "head" else InvalidRequestError
                part[axis] = _checked(parameter, index, size, error)
        return part


def _absent(found: Weight | str) -> bool:
    return isinstance(found, str)


def _checked(
    parameter: str, index: int, size: int, error: type[Exception] = InvalidRequestError
) -> int:
    if not 0 <= index < size:
        raise error(f"{parameter}: no {index}; there are 0 to {size - 1}")
    return int(index)


def _check_size(name: str, shape: tuple[int, ...], most: int | None) -> None:
    size = nbytes(shape)
    if most is not None and size > most:
        raise WeightTooLargeError(
            f"{name} of shape {list(shape)} is {size} bytes, more than the {most} that are sent; "
            f"ask for a part by {', '.join(SELECTORS)}"
        )


def _described(weight: Weight, part: Part) -> dict[str, str]:
    left = [axis for axis in weight.axes if not isinstance(part.get(axis), int)]
    described = {"name": weight.name, "axes": " ".join(left), "module": weight.path}
    if weight.layer is not None:
        described["layer"] = str(weight.layer)
    described |= {axis: str(index) for axis, index in part.items() if isinstance(index, int)}
    if weight.notes:
        described["notes"] = "; ".join(weight.notes)
    return described
