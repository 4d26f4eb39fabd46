"""What can go wrong on the bridge's side, each naming what was wrong."""


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose; the message is for the user."""


class InvalidRecordError(BridgeError):
    """An activation record whose data, shape and dtype do not fit together."""


class LMStudioError(BridgeError):
    """The endpoint refused a request.

    `status` is the HTTP status, `kind` the class of error (`unknown_layer`, ...), `param` the
    field of the request that was wrong, if one was.
    """

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
