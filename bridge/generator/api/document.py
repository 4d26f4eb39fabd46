"""The whole of an OpenAPI document, from a file or an address."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bridge.generator.api.operations import Operation, operation_at, places_of
from bridge.generator.api.references import Documents, Node, address_of, readable
from bridge.generator.api.security import SecurityScheme, security_schemes_of
from bridge.generator.api.servers import Server, servers_of
from bridge.generator.api.validation import breaches_of
from bridge.generator.errors import DocumentError
from bridge.generator.problems import Problem, ProblemKind

Value = TypeVar("Value")
CONVERT = (
    "Swagger 2.0 is not read; convert it first, for example by "
    "`npx swagger2openapi --outfile openapi.json FILE` or at https://converter.swagger.io"
)


@dataclass(frozen=True)
class Api:
    """What a document says; `problems` are the warnings about it."""

    node: Node = field(repr=False, compare=False)
    title: str
    version: str
    operations: tuple[Operation, ...]
    servers: tuple[Server, ...] = ()
    security_schemes: dict[str, SecurityScheme] = field(default_factory=dict)
    class_name: str = ""  # of the extension `x-smalltalk-class`
    problems: tuple[Problem, ...] = ()

    @property
    def source(self) -> str:
        """The last part of the document's address."""
        return readable(self.node.document).rsplit("/", 1)[-1]


def read_api(source: str | Path, *, allow_remote: bool = False) -> Api:
    """Read a document of version 3.0, 3.1 or 3.2, as JSON or YAML.

    An operation that cannot be read is left out, and a problem says so. Raises DocumentError if
    there is no such document, or it is none of OpenAPI 3.
    """
    documents = Documents(address_of(source), allow_remote)
    root = documents.start()
    problems: list[Problem] = []
    name = readable(documents.root)
    if not isinstance(root.value, dict):
        raise DocumentError(name, "not an OpenAPI document: not an object")
    _check_version(root, name, problems)
    problems += breaches_of(root.value)
    info = _read(lambda node: node.object("info"), root, problems) or Node(
        documents, root.document, "#/info", {}
    )
    operations = _operations(root, problems)
    if not operations:
        text = "no operations, so the client has no methods of the API's"
        problems.append(Problem(ProblemKind.DOUBTFUL, "#/paths", text))
    return Api(
        root,
        info.text("title") or "Untitled",
        info.text("version"),
        operations,
        _read(servers_of, root, problems) or (),
        security_schemes_of(root, problems),
        info.text("x-smalltalk-class"),
        tuple(problems),
    )


def _check_version(root: Node, name: str, problems: list[Problem]) -> None:
    version = root.text("openapi")
    if root.text("swagger"):
        raise DocumentError(name, CONVERT)
    if not version.startswith("3."):
        raise DocumentError(
            name, f"not an OpenAPI 3 document: its version is {version or 'not given'}"
        )
    if not version.startswith(("3.0", "3.1", "3.2")):
        text = f"version {version} is read as 3.2"
        problems.append(Problem(ProblemKind.DOUBTFUL, "#/openapi", text))


def _read(part: Callable[[Node], Value], root: Node, problems: list[Problem]) -> Value | None:
    """A part of the document; None, and a problem, if it is not as it should be."""
    try:
        return part(root)
    except DocumentError as error:
        problems.append(Problem(ProblemKind.DOUBTFUL, error.pointer, error.problem))
        return None


def _operations(root: Node, problems: list[Problem]) -> tuple[Operation, ...]:
    found = []
    for place in places_of(root, problems):
        try:
            found.append(operation_at(place, root, problems))
        except DocumentError as error:
            text = f"{error.problem} ({error.pointer})"
            problems.append(Problem(ProblemKind.SKIPPED, place.node.where, text))
    return tuple(found)
