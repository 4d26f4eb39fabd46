"""What changed in an operation: its parameters, bodies, responses, security and servers."""

from collections.abc import Iterable, Iterator

from bridge.generator.api.bodies import Content, Response
from bridge.generator.api.operations import Operation
from bridge.generator.api.parameters import Parameter
from bridge.generator.api.security import Requirement
from bridge.generator.diff.changes import Severity
from bridge.generator.diff.schemas import Found, SchemaDiff


def operation_changes(old: Operation, new: Operation) -> Iterator[Found]:
    """The changes of one operation, which has the same verb and path in both documents."""
    yield from _parameters(old, new)
    yield from _request_body(old, new)
    yield from _responses(old, new)
    yield from _security(old, new)
    yield from _servers(old, new)
    if old.deprecated != new.deprecated:
        text = "deprecated" if new.deprecated else "no longer deprecated"
        yield Severity.COMPATIBLE, "", text
    for what in ("summary", "description", "tags", "id"):
        if getattr(old, what) != getattr(new, what):
            yield Severity.TEXT, "", f"its {'operationId' if what == 'id' else what} changed"


def _parameters(old: Operation, new: Operation) -> Iterator[Found]:
    # The names in a path are not sent: what counts is their order.
    before, after = _by_key(old), _by_key(new)
    for key, parameter in before.items():
        if key not in after:
            yield Severity.BREAKING, _place(parameter), "removed"
        else:
            yield from _parameter(parameter, after[key])
    for key, parameter in after.items():
        if key not in before:
            severity = Severity.BREAKING if parameter.required else Severity.COMPATIBLE
            text = "added, and required" if parameter.required else "added"
            yield severity, _place(parameter), text


def _by_key(operation: Operation) -> dict[tuple[str, str], Parameter]:
    found = {p.key: p for p in operation.parameters if p.place != "path"}
    for index, parameter in enumerate(operation.parameters_in("path")):
        found["path", str(index)] = parameter
    return found


def _parameter(old: Parameter, new: Parameter) -> Iterator[Found]:
    place = _place(new)
    if old.name != new.name:
        yield Severity.COMPATIBLE, place, f"it was called {old.name}"
    if old.required != new.required:
        severity = Severity.BREAKING if new.required else Severity.COMPATIBLE
        yield severity, place, "required now" if new.required else "optional now"
    if (old.style, old.explode, old.content) != (new.style, new.explode, new.content):
        yield Severity.BREAKING, place, "its value is written differently"
    if old.allow_reserved != new.allow_reserved:
        yield Severity.BREAKING, place, "other characters are escaped"
    if old.deprecated != new.deprecated:
        text = "deprecated" if new.deprecated else "no longer deprecated"
        yield Severity.COMPATIBLE, place, text
    if old.description != new.description:
        yield Severity.TEXT, place, "described differently"
    yield from SchemaDiff(sent=True).compare(old.schema, new.schema, place)


def _request_body(old: Operation, new: Operation) -> Iterator[Found]:
    before, after = old.body, new.body
    if before is None or after is None:
        if before is None and after is not None:
            severity = Severity.BREAKING if after.required else Severity.COMPATIBLE
            yield severity, "request body", "added, and required" if after.required else "added"
        elif before is not None:
            yield Severity.BREAKING, "request body", "removed"
        return
    if before.required != after.required:
        severity = Severity.BREAKING if after.required else Severity.COMPATIBLE
        yield severity, "request body", "required now" if after.required else "optional now"
    if before.description != after.description:
        yield Severity.TEXT, "request body", "described differently"
    yield from _contents(before.contents, after.contents, "request body", SchemaDiff(sent=True))


def _responses(old: Operation, new: Operation) -> Iterator[Found]:
    before = {response.status: response for response in old.responses}
    after = {response.status: response for response in new.responses}
    for status, response in before.items():
        if status in after:
            yield from _response(response, after[status])
        else:
            severity = Severity.BREAKING if response.is_success else Severity.COMPATIBLE
            yield severity, f"response {status}", "removed"
    for status in after:
        if status not in before:
            yield Severity.COMPATIBLE, f"response {status}", "added"


def _response(old: Response, new: Response) -> Iterator[Found]:
    place = f"response {new.status}"
    diff = SchemaDiff(sent=False)
    yield from _contents(old.contents, new.contents, place, diff)
    for name, schema in old.headers.items():
        if name in new.headers:
            yield from diff.compare(schema, new.headers[name], f"{place}, header {name}")
        else:
            yield Severity.BREAKING, f"{place}, header {name}", "removed"
    for name in new.headers.keys() - old.headers:
        yield Severity.COMPATIBLE, f"{place}, header {name}", "added"
    if old.description != new.description:
        yield Severity.TEXT, place, "described differently"


def _contents(
    old: Iterable[Content], new: Iterable[Content], place: str, diff: SchemaDiff
) -> Iterator[Found]:
    before = {content.essence: content for content in old}
    after = {content.essence: content for content in new}
    for name, content in before.items():
        if name in after:
            where = place if len(before) == len(after) == 1 else f"{place} as {name}"
            yield from diff.compare(content.schema, after[name].schema, where)
            if content.encodings != after[name].encodings:
                yield Severity.BREAKING, where, "its members are written differently"
        else:
            yield Severity.BREAKING, place, f"{name} removed"
    for name in after.keys() - before:
        yield Severity.COMPATIBLE, place, f"{name} added"


def _security(old: Operation, new: Operation) -> Iterator[Found]:
    before, after = {*old.security}, {*new.security}
    if before == after:
        return
    # A request that was let in before is let in still if each of its alternatives is one still,
    # asks for less, or nothing is asked for at all.
    lost = [each for each in before or {()} if not _allows(after, each)]
    severity = Severity.BREAKING if lost else Severity.COMPATIBLE
    yield severity, "security", f"asks for {_said(after)}, not for {_said(before)}"


def _allows(alternatives: set[Requirement], given: Requirement) -> bool:
    """Whether a request with these credentials satisfies some alternative."""
    scopes = dict(given)
    return not alternatives or any(
        all(name in scopes and {*needed} <= {*scopes[name]} for name, needed in each)
        for each in alternatives
    )


def _said(alternatives: set[Requirement]) -> str:
    texts = [" and ".join(name for name, _ in each) or "nothing" for each in sorted(alternatives)]
    return " or ".join(texts) or "nothing"


def _servers(old: Operation, new: Operation) -> Iterator[Found]:
    yield from server_changes([s.template for s in old.servers], [s.template for s in new.servers])


def server_changes(before: list[str], after: list[str]) -> Iterator[Found]:
    """The changes of a list of servers, of which the first is the usual one."""
    for url in before:
        if url not in after:
            yield Severity.BREAKING, "servers", f"{url} removed"
    for url in after:
        if url not in before:
            yield Severity.COMPATIBLE, "servers", f"{url} added"
    if before and after and before[0] != after[0] and before[0] in after:
        yield Severity.COMPATIBLE, "servers", f"the first is {after[0]}, not {before[0]}"


def _place(parameter: Parameter) -> str:
    return f"{parameter.place} parameter {parameter.name}"
