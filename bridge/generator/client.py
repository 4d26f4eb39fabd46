"""From operations to the methods of a client: each message, and where its arguments go."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.comments import comment_of
from bridge.generator.names import MAX_LENGTH, camel_case
from bridge.generator.naming import Choices, Naming, naming_of
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.reserved import reserved_selectors
from bridge.generator.selectors import (
    MAX_ARGUMENTS,
    OPTIONS,
    Part,
    Pattern,
    parse_pattern,
    pattern_for,
)
from bridge.generator.unsupported import why_unsupported

WHOLE_BODY = "body"
IN_PATHS = "/?:@!$&'()*+,;=-._~%"
"""What a path's own text may have unescaped in an address."""


@dataclass(frozen=True)
class BaseClass:
    """What the superclass of all clients has already."""

    selectors: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ClientMethod:
    """One method of the client."""

    operation: Operation
    pattern: Pattern
    path: tuple[str | Part, ...]  # literal pieces and arguments, in order

    @property
    def protocol(self) -> str:
        return self.operation.tags[0] if self.operation.tags else "operations"

    @property
    def query(self) -> tuple[Part, ...]:
        return tuple(part for part in self.pattern.parts if part.place == "query")

    @property
    def fields(self) -> tuple[Part, ...]:
        """The arguments that are members of a JSON object."""
        return tuple(part for part in self.pattern.parts if part.place == "field")

    @property
    def body(self) -> Part | None:
        """The argument that is the whole JSON body."""
        return next((part for part in self.pattern.parts if part.place == WHOLE_BODY), None)

    @property
    def options(self) -> Part | None:
        """The argument that has further members of a JSON object, or else of the query."""
        return next((part for part in self.pattern.parts if part.place == OPTIONS), None)

    @property
    def comment(self) -> str:
        return comment_of(self.operation)


@dataclass(frozen=True)
class FieldName:
    """Another name for a component's output, or for its input, without its layer."""

    name: str
    component: str
    is_input: bool


@dataclass(frozen=True)
class Client:
    """What the class of one API is rendered from; `problems` include those of the document."""

    api: Api
    naming: Naming
    methods: tuple[ClientMethod, ...]
    problems: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.naming.class_name

    @property
    def base_url(self) -> str:
        return self.naming.base_url

    @property
    def title(self) -> str:
        return self.api.title

    @property
    def version(self) -> str:
        return self.api.version

    @property
    def field_names(self) -> tuple[FieldName, ...]:
        """The names of the extension `x-field-names`."""
        return tuple(
            FieldName(node.text("name"), node.text("component"), node.flag("is_input"))
            for node in self.api.node.items("x-field-names")
        )

    def selectors_of(self, route: str) -> tuple[str, ...]:
        """The selectors of one operation."""
        return tuple(m.pattern.selector for m in self.methods if m.operation.route == route)


def client_of(
    api: Api,
    base: BaseClass,
    choices: Choices | None = None,
    wanted: Callable[[Operation], bool] | None = None,
) -> Client:
    """The client of a document, or of those of its operations that are wanted.

    What cannot be rendered is left out, and a problem says so.
    """
    problems: list[Problem] = []
    naming = naming_of(api, choices or Choices(), problems)
    supported = []
    for operation in api.operations:
        if wanted and not wanted(operation):
            continue
        if why := why_unsupported(operation, naming.base_url):
            problems.append(Problem(ProblemKind.SKIPPED, operation.pointer, why))
        else:
            supported.append(operation)
    methods = _Methods(base, problems)
    methods.add(supported)
    return Client(api, naming, tuple(methods.found.values()), (*api.problems, *problems))


class _Methods:
    """The methods of a client while they are gathered, by their selectors."""

    def __init__(self, base: BaseClass, problems: list[Problem]) -> None:
        self.found: dict[str, ClientMethod] = {}
        self._base = base
        self._problems = problems
        self._natural: Counter[str] = Counter()

    def add(self, operations: list[Operation]) -> None:
        """Make methods of operations, in their order."""
        self._natural = Counter(_natural_name(each) for each in operations if not each.selectors)
        for operation in operations:
            try:
                self._add(operation)
            except ValueError as error:
                self._problem(ProblemKind.SKIPPED, operation, str(error))

    def _add(self, operation: Operation) -> None:
        if operation.selectors:
            self._add_declared(operation)
            return
        least, most = _arguments(operation)
        if len(least) > MAX_ARGUMENTS:
            raise ValueError(f"more required arguments than {MAX_ARGUMENTS}: {len(least)}")
        if len(most) > MAX_ARGUMENTS:
            text = f"its optional arguments are left out: over {MAX_ARGUMENTS} in all, {len(most)}"
            self._problem(ProblemKind.DOUBTFUL, operation, text)
            most = least
        lists = [least] if least == most else [least, most]
        name = self._name(operation, lists)
        patterns = [pattern_for(name, each, self._base.variables) for each in lists]
        if changed := [part for part in patterns[-1].parts if not _is_natural(part)]:
            listed = ", ".join(f"{part.name!r} {part.argument}" for part in changed)
            text = f"its parameters are arguments of other names: {listed}"
            self._problem(ProblemKind.RENAMED, operation, text)
        for pattern in patterns:
            self._put(operation, pattern)

    def _add_declared(self, operation: Operation) -> None:
        """Add the patterns that a document declares: each field is looked for by its name."""
        patterns = [
            _placed(operation, parse_pattern(text, self._base.variables))
            for text in operation.selectors
        ]
        for pattern in patterns:
            selector = pattern.selector
            if selector in self.found:
                other = self.found[selector].operation.route
                raise ValueError(f"{selector} is the selector of {other} too")
            if selector in self._base.selectors | reserved_selectors():
                raise ValueError(f"{selector} is a selector of every client or object already")
        for pattern in patterns:
            self._put(operation, pattern)

    def _put(self, operation: Operation, pattern: Pattern) -> None:
        self.found[pattern.selector] = ClientMethod(
            operation, pattern, _pieces(operation.path, pattern.parts)
        )

    def _name(self, operation: Operation, lists: list[list[tuple[str, str]]]) -> str:
        """The first word of an operation's selectors: its id, changed where that is taken."""
        natural = _natural_name(operation)
        name, why = natural, ""
        if self._clash(name, lists, self._base.selectors | reserved_selectors()):
            name, why = f"{name}Operation", f"every client or object understands {name} already"
        number = 2
        while self._clash(name, lists, self.found.keys()) or (
            name != natural and name in self._natural
        ):
            why = why or f"another operation is called {natural}"
            name, number = f"{natural}{number}", number + 1
        if not operation.id:
            why = why or "it has no operationId"
        elif not operation.id.isascii():
            why = why or f"it is {operation.id!r} in the document"
        elif len(operation.id) > MAX_LENGTH:
            why = why or f"its operationId has over {MAX_LENGTH} characters"
        if why:
            self._problem(ProblemKind.RENAMED, operation, f"it is called {name}: {why}")
        return name

    def _clash(self, name: str, lists: list[list[tuple[str, str]]], taken: object) -> bool:
        return any(pattern_for(name, each).selector in taken for each in lists)  # type: ignore[operator]

    def _problem(self, kind: ProblemKind, operation: Operation, text: str) -> None:
        self._problems.append(Problem(kind, operation.pointer, text))


def _natural_name(operation: Operation) -> str:
    """What an operation would be called if nothing else were: its id, or its verb and path."""
    for text in (operation.id, f"{operation.verb.lower()} {operation.path}"):
        try:
            return camel_case(text)
        except ValueError:
            continue
    return operation.verb.lower()


def _is_natural(part: Part) -> bool:
    """Whether an argument is called as its parameter is, but for how words are put together."""
    try:
        return part.name.isascii() and part.argument == camel_case(part.name)
    except ValueError:
        return False


def _arguments(operation: Operation) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What an operation must be given, and all that it can be given, as places and names."""
    path = [("path", name) for name in operation.path_names]
    query = [p for p in operation.parameters_in("query") if p.content is None]
    body = [(WHOLE_BODY, WHOLE_BODY)] if operation.body and operation.body.contents else []
    least = [*path, *(p.key for p in query if p.required), *body]
    return least, [*path, *(p.key for p in query), *body]


def _placed(operation: Operation, pattern: Pattern) -> Pattern:
    """A declared pattern, each of its parts with the place of the field that it names."""
    json_body = operation.body.json if operation.body else None
    schema = json_body.schema if json_body else None
    members = schema.properties if schema else {}
    queries = {parameter.name for parameter in operation.parameters_in("query")}
    parts = []
    for part in pattern.parts:
        if part.name in operation.path_names:
            place = "path"
        elif part.name in queries:
            place = "query"
        elif part.name in members:
            place = "field"
        elif part.name == OPTIONS and (operation.body or queries):
            place = OPTIONS
        else:
            raise ValueError(f"there is no field or parameter {part.name}")
        parts.append(Part(part.keyword, part.argument, part.name, place))
    missing = {*operation.path_names} - {part.name for part in parts}
    if missing:
        raise ValueError(f"'{pattern}' does not give {', '.join(sorted(missing))}")
    return Pattern(pattern.selector, tuple(parts))


def _pieces(path: str, parts: tuple[Part, ...]) -> tuple[str | Part, ...]:
    by_name = {part.name: part for part in parts if part.place == "path"}
    pieces = re.split(r"{([^{}]+)}", path)
    return tuple(
        by_name[piece] if index % 2 else quote(piece, safe=IN_PATHS, errors="replace")
        for index, piece in enumerate(pieces)
        if piece
    )
