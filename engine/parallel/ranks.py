"""The processes that a model is spread over, and what they agree upon as it is loaded."""

from dataclasses import dataclass

import mlx.core as mx

from engine.errors import UnsupportedOperationError


@dataclass(frozen=True, eq=False)
class Ranks:
    """All ranks, of which this process is number `rank` of `size`."""

    group: mx.distributed.Group

    @property
    def rank(self) -> int:
        return self.group.rank()

    @property
    def size(self) -> int:
        return self.group.size()

    def each(self, is_so: bool) -> list[bool]:
        """What each rank says of something; all ranks have to say it at the same point."""
        said = mx.distributed.all_gather(mx.array([is_so], dtype=mx.int32), group=self.group)
        return [bool(said[rank].item()) for rank in range(self.size)]


def joined(backend: str = "any") -> Ranks:
    """The ranks that `mlx.launch` started this process as one of.

    Raises UnsupportedOperationError if there is no other.
    """
    try:
        group = mx.distributed.init(strict=True, backend=backend)
    except RuntimeError as reason:
        raise UnsupportedOperationError(
            f"there are no other ranks to share a model with ({reason}): start the command by "
            "mlx.launch, as in mlx.launch -n 2 -- neuroscope-bridge serve --parallel tensor …"
        ) from reason
    if group.size() == 1:
        raise UnsupportedOperationError(
            "there is one rank alone, which no model is shared by: start two or more by mlx.launch"
        )
    return Ranks(group)
