"""Where a feature set reads and writes, as a file or a user says."""

from dataclasses import dataclass

from engine.features.hook_names import point_of_hook
from engine.taps.points import Point


@dataclass(frozen=True)
class Places:
    """The point that is read and the point that is written, one for an autoencoder.

    `before_norm_weight` says that what is read is the value before the norm's weight.
    """

    reads: Point
    writes: Point
    before_norm_weight: bool = False

    @classmethod
    def of_hooks(cls, reads: str, writes: str | None = None) -> "Places":
        """Places by hook names; without `writes`, those of an autoencoder."""
        point, before_norm_weight = point_of_hook(reads)
        out = point if writes is None else point_of_hook(writes)[0]
        return cls(point, out, before_norm_weight)
