"""Which operations the templates cannot make a method of, each with its reason."""

from bridge.generator.api.operations import Operation
from bridge.generator.sending import is_token


def why_unsupported(operation: Operation) -> str | None:
    """Why no method can send an operation as the document says; None if one can.

    The reason begins with its kind, a colon behind it.
    """
    for parameter in operation.parameters:
        named = parameter.place in ("header", "cookie")
        if named and parameter.required and not is_token(parameter.name):
            return f"a {parameter.place} whose name HTTP does not allow: {parameter.name!r}"
    return None
