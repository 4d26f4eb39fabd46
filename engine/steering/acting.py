"""Steering as interventions: what a vector changes on a model, at which layers and positions.

Directional ablation takes a direction out of everything that is written to the residual stream, at
every layer and position (Arditi et al. 2024, arXiv:2406.11717), which is what orthogonalising the
weights that write to it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.interventions.intervention import Intervention
from engine.steering.vector import SteeringVector
from engine.structure.places import places_named
from engine.structure.resolver import Structure
from engine.taps.position_sets import Positions

Operation = Literal["addition", "ablation"]
SteeredPositions = Literal["all", "prompt", "generated"]
ENTRY = "blocks.0.hook_resid_pre"


@dataclass(frozen=True)
class Steering:
    """What a vector does, and where.

    - ``addition``: its direction of each layer in `strengths`, times the strength, is added to the
      stream after that layer;
    - ``ablation``: its direction of one layer, `of_layer`, is projected out of the stream wherever
      something has been written to it: as it enters the first layer, and in each layer after the
      attention and after the MLP.

    `positions` are ``all``; ``generated``: from the last token of the prompt on, so that every
    generated token is chosen by a steered pass; or ``prompt``.
    """

    vector: SteeringVector
    operation: Operation
    strengths: Mapping[int, float]
    of_layer: int | None
    positions: SteeredPositions

    @classmethod
    def adding(
        cls,
        vector: SteeringVector,
        strengths: Mapping[int, float],
        positions: SteeredPositions = "all",
    ) -> "Steering":
        """Add directions. Raises InvalidRequestError for a layer that the vector has not."""
        for layer in strengths:
            _check_layer(vector, layer)
        if not strengths:
            raise InvalidRequestError("strengths: at least one layer is needed")
        return cls(vector, "addition", dict(strengths), None, positions)

    @classmethod
    def ablating(
        cls,
        vector: SteeringVector,
        of_layer: int | None = None,
        positions: SteeredPositions = "all",
    ) -> "Steering":
        """Take one direction out: that of a layer, which has to be named if there are several."""
        if of_layer is None:
            if len(vector.layers) > 1:
                raise InvalidRequestError(
                    "of_layer: an ablation takes one direction out everywhere; the vector has "
                    f"those of layers {_told(vector)}"
                )
            of_layer = vector.layers[0]
        _check_layer(vector, of_layer)
        return cls(vector, "ablation", {}, of_layer, positions)

    def check(self, structure: Structure) -> None:
        """Raise InvalidRequestError, UnknownLayerError or UnknownComponentError where a model
        cannot be steered so."""
        width = structure.hidden_size
        if self.vector.width != width:
            raise InvalidRequestError(
                f"the vector's directions have {self.vector.width} numbers, the model's residual "
                f"stream has {width}"
            )
        for layer in self.strengths:
            places_named(str(layer), ComponentType.RESIDUAL, structure)
        if self.operation == "ablation":
            places_named(ENTRY, None, structure)
            places_named("*", ComponentType.RESIDUAL, structure)

    def interventions(self, structure: Structure, following: int) -> tuple[Intervention, ...]:
        """The changes of one run, in which so many tokens go through the model after the prompt."""
        return tuple(
            change for where in self._positions(following) for change in self._at(where, structure)
        )

    def _positions(self, following: int) -> list[Positions]:
        if self.positions != "generated":
            return [None if self.positions == "all" else "prompt"]
        return [(-1,), "generated"] if following > 0 else [(-1,)]

    def _at(self, positions: Positions, structure: Structure) -> list[Intervention]:
        directions = self.vector.directions
        if self.operation == "addition":
            return [
                Intervention(
                    str(layer),
                    ComponentType.RESIDUAL,
                    "addition",
                    positions=positions,
                    value=directions[layer] * strength,
                )
                for layer, strength in self.strengths.items()
            ]
        direction = directions[self.of_layer or 0]
        written = [(ENTRY, None), ("*", ComponentType.RESIDUAL)]
        if ComponentType.RESIDUAL_MID in structure.components:
            written.append(("*", ComponentType.RESIDUAL_MID))
        return [
            Intervention(name, component, "projection", positions=positions, value=direction)
            for name, component in written
        ]


def _check_layer(vector: SteeringVector, layer: int) -> None:
    if layer not in vector.directions:
        raise InvalidRequestError(
            f"the vector has no direction of layer {layer}; it has those of {_told(vector)}"
        )


def _told(vector: SteeringVector) -> str:
    return ", ".join(map(str, vector.layers))
