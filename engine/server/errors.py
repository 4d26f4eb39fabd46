"""Every failure as the contract's error body: status, type, and a message that says what exists."""

from collections.abc import Sequence

from werkzeug.exceptions import HTTPException

from engine import errors as e
from engine.contract.schemas import ErrorDetail, ErrorResponse
from engine.server.offences import Offence, told


class RequestError(e.EngineError):
    """A request that the server refuses; `param` names the field that was wrong."""

    status = 400
    kind = "invalid_request"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MalformedError(RequestError):
    """A body that breaks its schema: the first offences, and how many more there are."""

    def __init__(self, found: Sequence[Offence]) -> None:
        super().__init__(told(found), found[0].field or None)


class UnauthorizedError(RequestError):
    """No bearer token, or a wrong one."""

    status, kind = 401, "unauthorized"


class ForbiddenError(RequestError):
    """A foreign Host or Origin, or a model outside the allowed roots."""

    status, kind = 403, "forbidden"


class UnknownModelError(RequestError):
    """A model id that is not loaded, or no model at all."""

    status, kind = 404, "unknown_model"


class UnknownCaptureError(RequestError):
    """A capture that is not kept; the message says why."""

    status, kind = 404, "unknown_capture"


class UnknownSessionError(RequestError):
    """A session that was never begun."""

    status, kind = 404, "unknown_session"


class UnknownJobError(RequestError):
    """A job that is not under way, nor waits to be."""

    status, kind = 404, "unknown_job"


class UnknownResponseError(RequestError):
    """A reply to continue that is not kept."""

    status, kind = 404, "unknown_response"


class UnknownSteeringError(RequestError):
    """A steering vector that is not kept, or a steering that is not registered."""

    status, kind = 404, "unknown_steering"


class DuplicateSteeringError(RequestError):
    """A steering vector's name, or a steering's id, that is taken."""

    status, kind = 409, "duplicate_steering"


class SessionActiveError(RequestError):
    """A session while another is not over, or a value while none is waited for."""

    status, kind = 409, "session_active"


class SessionEndedError(RequestError):
    """A session that is over; the message says why."""

    status, kind = 410, "session_over"

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(f"The session {session_id} is over: {reason}.", "session_id")


class ImpossibleError(RequestError):
    """A request that the contract allows and this model or server cannot fulfil."""

    status, kind = 422, "impossible"


class ImpossibleGrammarError(ImpossibleError):
    """A form of the text, or parameters of a tool, that no grammar can be compiled of."""

    kind = "impossible_grammar"


class UnknownTokenError(ImpossibleError):
    """A token id outside the vocabulary."""

    kind = "unknown_token"


class NotFiniteError(ImpossibleError):
    """A reply with NaN or infinity in the place of a number."""

    kind = "not_finite"


class LimitError(ImpossibleError):
    """More than this server allows; the message says how much it does."""

    kind = "over_limit"


class BodyTooLargeError(RequestError):
    """A request body over the limit."""

    status, kind = 413, "body_too_large"


class UnavailableError(RequestError):
    """The server cannot do it now, and may later."""

    status, kind = 503, "unavailable"


class CancelledError(UnavailableError):
    """A job that somebody cancelled."""

    kind = "cancelled"


class QueueFullError(UnavailableError):
    """Too many requests wait already."""

    kind = "queue_full"


class RankEndedError(UnavailableError):
    """One of the ranks that share the models has ended."""

    kind = "rank_ended"


class ShuttingDownError(UnavailableError):
    """The server is on its way out."""

    kind = "shutting_down"


class SlowClientError(RequestError):
    """A client that does not take its results."""

    status, kind = 408, "slow_client"


ENGINE_ERRORS: dict[type[e.EngineError], tuple[int, str]] = {
    e.UnknownLayerError: (422, "unknown_layer"),
    e.UnknownComponentError: (422, "unknown_component"),
    e.UnknownHeadError: (422, "unknown_head"),
    e.UnknownNeuronError: (422, "unknown_neuron"),
    e.UnknownPositionError: (422, "unknown_position"),
    e.ContextLengthError: (422, "context_length"),
    e.UnequalPromptsError: (422, "unequal_prompts"),
    e.InterventionError: (422, "impossible_intervention"),
    e.DuplicateHookError: (409, "duplicate_hook"),
    e.UnknownHookError: (404, "unknown_hook"),
    e.GrammarError: (422, "impossible_grammar"),
    e.ModelNotFoundError: (404, "model_not_found"),
    e.UnsupportedModelError: (422, "unsupported_model"),
    e.UnsupportedOperationError: (422, "unsupported_operation"),
    e.NotFiniteError: (422, "not_finite"),
    e.NotEnoughMemoryError: (507, "not_enough_memory"),
    e.CaptureTooLargeError: (507, "capture_too_large"),
    e.UnknownWeightError: (422, "unknown_weight"),
    e.WeightTooLargeError: (507, "weight_too_large"),
    e.FeatureSetError: (422, "unusable_feature_set"),
    e.UnknownFeatureSetError: (404, "unknown_feature_set"),
    e.UnknownFeatureError: (422, "unknown_feature"),
    e.EngineError: (422, "impossible"),
}
LONGEST_MESSAGE = 4000
"""Characters of a message that are told; those of a client may be as many as it likes."""
RETRY_AFTER = 1
"""Seconds that a client is asked to wait after a 503."""


def error_detail(error: BaseException) -> ErrorDetail:
    """What the client is told; of an unforeseen error nothing but that it happened."""
    match error:
        case RequestError():
            return _detail(error.status, error.kind, str(error), error.param)
        case HTTPException():
            name = (error.name or "error").lower().replace(" ", "_")
            return _detail(error.code or 500, name, error.description or name)
        case e.EngineError():
            nearest = next(kind for kind in type(error).__mro__ if kind in ENGINE_ERRORS)
            return _detail(*ENGINE_ERRORS[nearest], str(error))
    return _detail(500, "internal_error", "The server failed; its log contains the reason.")


def error_body(error: BaseException) -> dict:
    return ErrorResponse(error=error_detail(error)).model_dump()


def _detail(status: int, kind: str, message: str, param: str | None = None) -> ErrorDetail:
    return ErrorDetail(
        message=_short(message), type=kind, code=status, param=param and _short(param)
    )


def _short(text: str) -> str:
    """A text without its middle, if a client made it too long to be told."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters) … {text[-half:]}"
