"""Operations: what each is sent and returns."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.generator.api.bodies import (
    Content,
    RequestBody,
    Response,
    request_body_of,
    responses_of,
)
from bridge.generator.api.parameters import Parameter, parameters_of, undeclared
from bridge.generator.api.references import Node
from bridge.generator.api.security import Requirement, requirements_of
from bridge.generator.api.servers import Server, servers_of
from bridge.generator.errors import DocumentError
from bridge.generator.problems import Problem, ProblemKind

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
EVENTS = "text/event-stream"
SINCE_3_2 = (*METHODS, "query")
METHOD_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True)
class Operation:
    """One operation; `servers` are its own or its path's, and none where the document's serve."""

    pointer: str
    verb: str
    path: str
    node: Node = field(repr=False, compare=False)
    id: str = ""
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()  # of the extension `x-smalltalk-selector`
    parameters: tuple[Parameter, ...] = ()
    body: RequestBody | None = None
    responses: tuple[Response, ...] = ()
    security: tuple[Requirement, ...] = ()
    servers: tuple[Server, ...] = ()
    deprecated: bool = False

    @property
    def route(self) -> str:
        return f"{self.verb} {self.path}"

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names in the path's template, each once."""
        return names_in(self.path)

    def parameters_in(self, place: str) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.place == place)

    @property
    def successes(self) -> tuple[Response, ...]:
        """The responses that say success, or else what is returned in every case."""
        wanted = tuple(r for r in self.responses if r.is_success)
        return wanted or tuple(r for r in self.responses if r.status == "default")

    @property
    def json_answer(self) -> Content | None:
        """The first JSON that a success comes with."""
        found = (c for r in self.successes for c in r.contents if c.is_json)
        return next(found, None)

    @property
    def answer_kind(self) -> str:
        """`json`, `text` or `bytes` if nothing else is returned; `value` where a header says which.

        JSON stands before a stream of events, which comes where it was asked for.
        """
        contents = [c for r in self.successes for c in r.contents]
        kinds = {c.kind for c in contents if c.essence != EVENTS} or {c.kind for c in contents}
        return next(iter(kinds)) if len(kinds) == 1 else "value"


@dataclass(frozen=True)
class Place:
    """Where an operation is in a document, before it is read."""

    node: Node
    path_item: Node
    path: str
    verb: str


def places_of(document: Node, problems: list[Problem]) -> Iterator[Place]:
    """All operations of a document, in its order; what cannot be read is a problem."""
    new = not document.text("openapi").startswith(("3.0", "3.1"))
    for path, node in document.entries("paths").items():
        if path.startswith("x-"):
            continue
        try:
            if not path.startswith("/"):
                raise DocumentError(node.where, "a path that does not begin with a slash")
            item = node.resolved()
            if not isinstance(item.value, dict):
                raise DocumentError(node.where, "not an object")
            found = _in_path_item(item, new)
        except DocumentError as error:
            problems.append(Problem(ProblemKind.SKIPPED, error.pointer, error.problem))
            continue
        for verb, operation in found:
            # Where a path is only a reference, its operations are still those of the path.
            pointer = f"{node.pointer}/{operation.pointer.removeprefix(f'{item.pointer}/')}"
            inherits = operation.document == node.document
            place = Node(operation.documents, operation.document, pointer, operation.value)
            yield Place(place if inherits else operation, item, path, verb)


def operation_at(place: Place, document: Node, problems: list[Problem]) -> Operation:
    """Read one operation. Raises DocumentError for what breaks the specification."""
    node = place.node.resolved()
    if not isinstance(node.value, dict):
        raise DocumentError(node.where, "not an object")
    if not METHOD_TOKEN.fullmatch(place.verb):
        raise DocumentError(node.where, f"not an HTTP method: {place.verb!r}")
    return Operation(
        pointer=place.node.where,
        verb=place.verb.upper(),
        path=place.path,
        node=node,
        id=node.text("operationId"),
        summary=node.text("summary"),
        description=node.text("description"),
        tags=node.texts("tags"),
        selectors=_selectors(node),
        parameters=_parameters(place, node, problems),
        body=request_body_of(node),
        responses=tuple(r for r in responses_of(node) if not r.status.startswith("x-")),
        security=requirements_of(document, node),
        servers=servers_of(node) or servers_of(place.path_item),
        deprecated=node.flag("deprecated"),
    )


def names_in(path: str) -> tuple[str, ...]:
    """The names in a path's template, each once."""
    return tuple(dict.fromkeys(re.findall(r"{([^{}]+)}", path)))


def _in_path_item(item: Node, new: bool) -> list[tuple[str, Node]]:
    found = [
        (method, item.child(method))
        for method in item.value
        if method in (SINCE_3_2 if new else METHODS) and item.value[method] is not None
    ]
    if new:
        found += item.entries("additionalOperations").items()
    return found


def _selectors(node: Node) -> tuple[str, ...]:
    given = node.get("x-smalltalk-selector")
    if given is None:
        return ()
    if not isinstance(given.value, list) or not all(isinstance(t, str) for t in given.value):
        raise DocumentError(given.where, "not a list of message patterns")
    return tuple(given.value)


def _parameters(place: Place, node: Node, problems: list[Problem]) -> tuple[Parameter, ...]:
    """The parameters that are of use: those of the path's template, declared or not, first."""
    found = parameters_of(place.path_item, node)
    where = place.node.where
    in_path = []
    for name in names_in(place.path):
        if ("path", name) not in found:
            text = f"the parameter {name} of its path is not declared, and taken to be a text"
            problems.append(Problem(ProblemKind.DOUBTFUL, where, text))
        in_path.append(found.pop(("path", name), undeclared(name, where)))
    for key in [key for key in found if key[0] == "path"]:
        text = f"the parameter {key[1]} is not in its path"
        problems.append(Problem(ProblemKind.DOUBTFUL, where, text))
        del found[key]
    return (*in_path, *found.values())
