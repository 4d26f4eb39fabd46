"""The draft model of a request, and how many of its tokens were used."""

from dataclasses import dataclass
from typing import Any

from engine.runs.results import GenerationResult
from engine.server.errors import ImpossibleError, UnknownModelError
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def draft_model(service: Service, model: LoadedModel, asked: str | None) -> LoadedModel | None:
    """The loaded model that is to propose tokens for another one.

    Raises UnknownModelError, and ImpossibleError for the model itself or another vocabulary.
    """
    if asked is None:
        return None
    try:
        draft = service.models.get(asked)
    except UnknownModelError as error:
        raise UnknownModelError(f"draft_model: {error}", "draft_model") from None
    if draft.kit is model.kit:
        raise ImpossibleError(
            f"draft_model: {asked!r} is the model itself, which needs no draft.", "draft_model"
        )
    if draft.vocabulary != model.vocabulary:
        raise ImpossibleError(
            f"draft_model: the vocabulary of {draft.id!r}, {len(draft.vocabulary)} tokens, is not "
            f"that of {model.id!r}, {len(model.vocabulary)} tokens.",
            "draft_model",
        )
    return draft


@dataclass
class DraftCount:
    """The tokens that a draft model proposed for one text so far, and those that became text."""

    total: int = 0
    accepted: int = 0
    ignored: int = 0
    _left: int = 0

    def add(self, result: GenerationResult) -> None:
        """Count what was proposed for a token: of the last pass, what comes after the end of the
        text is ignored, unless the model had replaced a token before."""
        self.total += result.drafted
        self.accepted += result.is_draft
        self._left = (result.drafted or self._left) - result.is_draft
        if result.finish_reason is not None and result.is_draft:
            self.ignored = self._left


def draft_stats(draft: LoadedModel | None, counts: list[DraftCount]) -> dict[str, Any]:
    """What LM Studio tells of the drafts of all choices; nothing without a draft model."""
    if draft is None:
        return {}
    total, accepted, ignored = (
        sum(getattr(each, name) for each in counts) for name in ("total", "accepted", "ignored")
    )
    return {
        "draft_model": draft.id,
        "total_draft_tokens_count": total,
        "accepted_draft_tokens_count": accepted,
        "rejected_draft_tokens_count": total - accepted - ignored,
        "ignored_draft_tokens_count": ignored,
    }
