"""Which operations the templates cannot make a method of, each with its reason."""

from bridge.generator.api.operations import Operation


def why_unsupported(operation: Operation, base_url: str) -> str | None:
    """Why no method can send an operation as the document says; None if one can.

    `base_url` is where the client sends its requests. The reason begins with its kind, a colon
    behind it.
    """
    if operation.servers and base_url not in [server.url for server in operation.servers]:
        return f"a server of its own: {operation.servers[0].url}"
    if "?" in operation.path and operation.parameters_in("query"):
        return f"a query in its path, and parameters in it: {operation.path}"
    for parameter in operation.parameters:
        if parameter.place in ("header", "cookie", "querystring") and parameter.required:
            return f"a required parameter in a {parameter.place}: {parameter.name}"
        if parameter.place == "path" and parameter.style != "simple":
            return f"a path parameter of style {parameter.style}: {parameter.name}"
        if parameter.content and parameter.place in ("path", "query") and parameter.required:
            return f"a parameter written as {parameter.content}: {parameter.name}"
    body = operation.body
    if body and body.contents and not any(c.essence == "application/json" for c in body.contents):
        return f"a body that is not JSON: {', '.join(c.media_type for c in body.contents)}"
    return None
