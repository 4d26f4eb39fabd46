"""Hooks on features: the value that a set reads is captured, and its features are the record."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.captures.hooks import ResolvedHook
from engine.errors import InvalidRequestError
from engine.features.bound import BoundLayer, BoundSet, Encoding
from engine.structure.resolver import Structure
from engine.taps.position_sets import Positions


@dataclass(frozen=True)
class FeatureHookSpec:
    """Which features to capture of a set on a model; None: all of them.

    `layer` is one of a cross-layer transcoder's, None: each, a hook a layer. Positions are as in
    an `ActivationHookSpec`.
    """

    bound: BoundSet
    features: tuple[int, ...] | None = None
    layer: int | None = None
    hook_id: str | None = None
    positions: Positions = None
    exclude_special_tokens: bool = False

    def resolved(self, structure: Structure) -> list[ResolvedHook]:
        """A hook a layer. Raises UnknownLayerError, UnknownFeatureError, InvalidRequestError for a
        set on another model."""
        if structure is not self.bound.structure:
            raise InvalidRequestError(f"{self.bound.set_id} is a feature set of another model")
        self.bound.check_features(self.features)
        layers = self.bound.layers_named(self.layer)
        return [self._resolved(layer, structure, len(layers) > 1) for layer in layers]

    def default_id(self, resolved: Sequence[ResolvedHook]) -> str:
        """The set's id."""
        return resolved[0].hook_id if len(resolved) == 1 else self.bound.set_id

    def _resolved(self, layer: BoundLayer, structure: Structure, several: bool) -> ResolvedHook:
        point = layer.reads.point
        name = self.hook_id or self.bound.set_id
        return ResolvedHook(
            hook_id=f"{name}_layer_{point.layer}" if several else name,
            layer_name=point.component.value
            if point.layer is None
            else structure.layer_names[point.layer],
            layer=point.layer,
            component=point.component,
            points=((point, point.is_input),),
            positions=self.positions,
            heads=None,
            dtype="float32",
            exclude_special_tokens=self.exclude_special_tokens,
            encode=Encoding(self.bound, layer, self.features),
            shares=structure.shares,
        )
