"""What a reply says of the worth of its numbers."""

from engine.server.state.models import LoadedModel


def warnings(model: LoadedModel, positions: int) -> dict[str, list[str]]:
    """The field of a reply about a run over so many positions; none if there is nothing to say."""
    found = model.kit.warnings_of(positions)
    return {"warnings": found} if found else {}
