"""What a reply says of the worth of its numbers."""

from collections.abc import Sequence

from engine.server.state.models import LoadedModel


def warnings(model: LoadedModel, positions: int, notes: Sequence[str] = ()) -> dict[str, list[str]]:
    """The field of a reply about a run over so many positions, with `notes` on this one; none if
    there is nothing to say."""
    found = [*model.kit.warnings_of(positions), *notes]
    return {"warnings": found} if found else {}
