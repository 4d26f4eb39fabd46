"""From operations to the methods of a client: each message, and what it does to a request."""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote

from bridge.generator.api.operations import Operation
from bridge.generator.api.parameters import Parameter
from bridge.generator.api.servers import Server
from bridge.generator.comments import comment_of
from bridge.generator.names import MAX_LENGTH, camel_case, class_name, numbered
from bridge.generator.naming import Naming
from bridge.generator.options import BODY, Option, OptionsClass, members_of, options_of, setters
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.reserved import reserved_globals, reserved_selectors
from bridge.generator.selectors import (
    MAX_ARGUMENTS,
    OPTIONS,
    Part,
    Pattern,
    parse_pattern,
    pattern_for,
)
from bridge.generator.sending import (
    accepted,
    encodings,
    is_token,
    media_types,
    style_of,
    wire_name,
)

FIELD = "field"
JSON = "application/json"
IN_PATHS = "/?:@!$&'()*+,;=-._~%"
"""What a path's own text may have unescaped in an address."""


@dataclass(frozen=True)
class BaseClass:
    """What the superclass of all clients has already.

    `record` are the selectors of options, `model` those of models.
    """

    selectors: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    record: frozenset[str] = frozenset()
    model: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()  # without the prefix that each API has


@dataclass(frozen=True)
class Sent:
    """An argument that is a parameter: its name, place and style as a request is told them."""

    argument: str
    name: str
    place: str
    style: str


@dataclass(frozen=True)
class Delegate:
    """The call of the method with options that a method is short for.

    `keywords` has a keyword and an argument each but for the options, of which `given` are keys
    and arguments.
    """

    keywords: tuple[tuple[str, str], ...]
    keyword: str  # of the options
    given: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClientMethod:
    """One method of the client.

    `options` are what its argument of that name may have; `server` is one of the operation's own.
    """

    operation: Operation
    pattern: Pattern
    path: tuple[str | Sent, ...]  # literal pieces and arguments, in order
    sent: tuple[Sent, ...] = ()  # arguments that travel beside the path
    options: tuple[Option, ...] = ()
    server: Server | None = None
    delegate: Delegate | None = None
    options_class: str = ""

    @property
    def protocol(self) -> str:
        return self.operation.tags[0] if self.operation.tags else "operations"

    @property
    def comment(self) -> str:
        return comment_of(self.operation)

    @property
    def accept(self) -> str:
        return accepted(self.operation)

    @property
    def fields(self) -> tuple[Part, ...]:
        """The arguments that are members of a JSON object."""
        return tuple(part for part in self.pattern.parts if part.place == FIELD)

    @property
    def body(self) -> Part | None:
        """The argument that is the whole body."""
        return _part(self.pattern, BODY)

    @property
    def options_part(self) -> Part | None:
        """The argument that has what else may be given."""
        return _part(self.pattern, OPTIONS)

    @property
    def sends_members(self) -> bool:
        """Whether the body is a JSON object of arguments and options."""
        return _sends_members(self.operation, self.pattern)

    @property
    def media_types(self) -> tuple[str, ...]:
        return media_types(self.operation.body) if self.operation.body else ()

    @property
    def is_plain_json(self) -> bool:
        """Whether the body can be nothing but JSON of the usual media type."""
        return self.media_types == (JSON,)

    @property
    def encodings(self) -> tuple[str, ...]:
        return encodings(self.operation.body) if self.operation.body else ()

    @property
    def descriptions(self) -> tuple[str, ...]:
        """What the base classes are told of the options that are not members of the body."""
        return tuple(text for each in self.options if each.place for text in each.description)

    @property
    def required_keys(self) -> tuple[str, ...]:
        """The options that must be given, for which there are no keywords."""
        return tuple(each.key for each in self.options if each.required)


class Methods:
    """The methods of a client while they are gathered, by their selectors."""

    def __init__(self, base: BaseClass, naming: Naming, problems: list[Problem]) -> None:
        self.found: dict[str, ClientMethod] = {}
        self.options_classes: list[OptionsClass] = []
        self._base = base
        self._naming = naming
        self._problems = problems
        self._natural: Counter[str] = Counter()
        self._taken = {*base.selectors, *reserved_selectors()}
        self._class_names = {name.lower() for name in (naming.class_name, *reserved_globals())}

    def add(self, operations: list[Operation]) -> None:
        """Make methods of operations, in their order.

        What options there are changes no other selector: the selectors with options are found
        when all others are taken.
        """
        self._natural = Counter(_natural_name(each) for each in operations if not each.selectors)
        planned: list[tuple[Operation, list[ClientMethod], str]] = []
        for operation in operations:
            try:
                planned.append(self._plan(operation))
            except ValueError as error:
                self._problem(ProblemKind.SKIPPED, operation, str(error))
        for operation, methods, name in planned:
            if not operation.selectors:
                methods += self._derived_options(operation, methods[0], name)
            methods = self._with_options_class(methods, name)
            self.found |= {m.pattern.selector: m for m in map(_delegating(methods), methods)}

    def _plan(self, operation: Operation) -> tuple[Operation, list[ClientMethod], str]:
        """The methods of an operation but for a derived one with options; and its name."""
        if operation.selectors:
            methods = self._declared(operation)
            name = methods[0].pattern.selector.split(":")[0]
        else:
            name = self._name(operation)
            pattern = _least_pattern(operation, name, self._base.variables)
            self._say_changed(operation, pattern)
            methods = [self._method(operation, pattern)]
        self._taken |= {method.pattern.selector for method in methods}
        return operation, methods, name

    def _derived_options(
        self, operation: Operation, least: ClientMethod, name: str
    ) -> list[ClientMethod]:
        """The method that takes an operation's options; none if it has no options."""
        wanted = _required(operation)[: MAX_ARGUMENTS - 1]
        options = options_of(operation, wanted)
        if least.options_part or all(option.required for option in options):
            return []
        pattern = _options_pattern(name, wanted, self._base.variables)
        number = 2
        while pattern.selector in self._taken:
            pattern = _options_pattern(f"{name}{number}", wanted, self._base.variables)
            number += 1
        if number > 2:
            text = f"its options are those of {pattern.selector}: the usual selector is taken"
            self._problem(ProblemKind.RENAMED, operation, text)
        self._taken.add(pattern.selector)
        return [self._method(operation, pattern)]

    def _declared(self, operation: Operation) -> list[ClientMethod]:
        """The methods of the patterns that a document declares: each field is found by its name."""
        patterns = [
            _placed(operation, parse_pattern(text, self._base.variables))
            for text in operation.selectors
        ]
        for pattern in patterns:
            selector = pattern.selector
            if selector in self._base.selectors | reserved_selectors():
                raise ValueError(f"{selector} is a selector of every client or object already")
            if selector in self._taken:
                raise ValueError(f"{selector} is the selector of another operation too")
        return [self._method(operation, pattern) for pattern in patterns]

    def _method(self, operation: Operation, pattern: Pattern) -> ClientMethod:
        given = [(part.place, part.name) for part in pattern.parts]
        by_key = {parameter.key: parameter for parameter in operation.parameters}
        sent = [
            _sent(part.argument, by_key[part.place, part.name])
            for part in pattern.parts
            if (part.place, part.name) in by_key and part.place != "path"
        ]
        options: Iterable[Option] = ()
        if _part(pattern, OPTIONS):
            if _sends_members(operation, pattern):
                content = operation.body.json if operation.body else None
                options = members_of(content.schema if content else None, [n for _, n in given])
            else:
                options = self._sendable(operation, options_of(operation, given))
        server = None
        usual = {self._naming.base_url, self._naming.usual_server}
        if operation.servers and usual.isdisjoint(each.url for each in operation.servers):
            server = operation.servers[0]
        path = _pieces(operation, pattern)
        return ClientMethod(operation, pattern, path, tuple(sent), tuple(options), server)

    def _sendable(self, operation: Operation, options: list[Option]) -> list[Option]:
        """The options that HTTP can carry; the others are said."""
        found = []
        for option in options:
            if option.place in ("header", "cookie") and not is_token(option.name):
                text = f"a {option.place} whose name HTTP does not allow is left out: "
                self._problem(ProblemKind.DOUBTFUL, operation, f"{text}{option.name!r}")
            else:
                found.append(option)
        return found

    def _with_options_class(self, methods: list[ClientMethod], name: str) -> list[ClientMethod]:
        """The methods of an operation, those with options with the name of the class of these."""
        method = next((m for m in methods if m.options), None)
        if method is None:
            return methods
        wanted = class_name(f"{self._naming.base_prefix} {class_name(name)}")
        found = numbered(f"{wanted}Options", self._class_names, str.lower)
        self._class_names.add(found.lower())
        options = setters(method.options, self._base.record)
        self.options_classes.append(OptionsClass(found, method.pattern.selector, options))
        return [replace(each, options_class=found) if each.options else each for each in methods]

    def _name(self, operation: Operation) -> str:
        """The first word of an operation's selectors: its id, changed where that is taken."""
        natural = _natural_name(operation)
        name, why = natural, ""
        if self._clash(name, operation, self._base.selectors | reserved_selectors()):
            name, why = f"{name}Operation", f"every client or object understands {name} already"
        number = 2
        while self._clash(name, operation, self._taken) or (
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

    def _say_changed(self, operation: Operation, pattern: Pattern) -> None:
        changed = [p for p in pattern.parts if p.place != OPTIONS and not _is_natural(p)]
        if changed:
            listed = ", ".join(f"{part.name!r} {part.argument}" for part in changed)
            text = f"its parameters are arguments of other names: {listed}"
            self._problem(ProblemKind.RENAMED, operation, text)
        if (count := len(_required(operation))) > MAX_ARGUMENTS:
            text = (
                f"{count - len(pattern.parts) + 1} of its {count} required arguments are among "
                f"the options: a method has {MAX_ARGUMENTS} at most"
            )
            self._problem(ProblemKind.DOUBTFUL, operation, text)

    def _clash(self, name: str, operation: Operation, taken: Container[str]) -> bool:
        return _least_pattern(operation, name).selector in taken

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


def _required(operation: Operation) -> list[tuple[str, str]]:
    """What an operation must be given, as places and names: the path's first, the body last."""
    parameters = [p.key for p in operation.parameters if p.required and p.place != "path"]
    body = operation.body
    given = [(BODY, BODY)] if body and body.required and media_types(body) else []
    return [*(("path", name) for name in operation.path_names), *parameters, *given]


def _least_pattern(operation: Operation, name: str, taken: frozenset[str] = frozenset()) -> Pattern:
    """A keyword for each thing that must be given; those that are too many are options."""
    wanted = _required(operation)
    if len(wanted) > MAX_ARGUMENTS:
        return _options_pattern(name, wanted[: MAX_ARGUMENTS - 1], taken)
    return pattern_for(name, wanted, taken)


def _options_pattern(
    name: str, wanted: list[tuple[str, str]], taken: frozenset[str] = frozenset()
) -> Pattern:
    """A keyword for each thing that must be given, and one for the options.

    An operation that must be given nothing has a selector of its own for them: with its bare name
    it would be that of one that must be given something.
    """
    return pattern_for(name if wanted else f"{name}Options", [*wanted, (OPTIONS, OPTIONS)], taken)


def _part(pattern: Pattern, place: str) -> Part | None:
    return next((part for part in pattern.parts if part.place == place), None)


def _sends_members(operation: Operation, pattern: Pattern) -> bool:
    body = operation.body
    if not operation.selectors or body is None or body.json is None or _part(pattern, BODY):
        return False
    used = any(part.place in (FIELD, OPTIONS) for part in pattern.parts)
    return body.required or used


def _delegating(methods: list[ClientMethod]) -> Callable[[ClientMethod], ClientMethod]:
    """What makes a method short for that of the same operation which takes options, if it can."""

    def delegating(method: ClientMethod) -> ClientMethod:
        own = {(part.place, part.name): part.argument for part in method.pattern.parts}
        fitting = []
        for other in methods:
            theirs = {(p.place, p.name): p.keyword for p in other.pattern.parts}
            keyword = theirs.pop((OPTIONS, OPTIONS), None)
            rest = {
                name: argument for (p, name), argument in own.items() if (p, name) not in theirs
            }
            keys = {option.key for option in other.options}
            if keyword and theirs.keys() <= own.keys() and rest.keys() <= keys:
                keywords = tuple((theirs[key], own[key]) for key in theirs)
                fitting.append(Delegate(keywords, keyword, tuple(rest.items())))
        if method.options_part or not fitting:
            return method
        return replace(method, delegate=max(fitting, key=lambda each: len(each.keywords)))

    return delegating


def _placed(operation: Operation, pattern: Pattern) -> Pattern:
    """A declared pattern, each of its parts with the place of the field that it names."""
    json_body = operation.body.json if operation.body else None
    schema = json_body.schema if json_body else None
    members = schema.properties if schema else {}
    places = {p.name: p.place for p in operation.parameters if p.place != "path"}
    parts = []
    for part in pattern.parts:
        if part.name in operation.path_names:
            place = "path"
        elif part.name in places:
            place = places[part.name]
        elif part.name in members:
            place = FIELD
        elif part.name == BODY and operation.body:
            place = BODY
        elif part.name == OPTIONS and (operation.body or places):
            place = OPTIONS
        else:
            raise ValueError(f"there is no field or parameter {part.name}")
        parts.append(Part(part.keyword, part.argument, part.name, place))
    found = Pattern(pattern.selector, tuple(parts))
    takes_rest = _part(found, OPTIONS) and not _sends_members(operation, found)
    needed = [p.name for p in operation.parameters if p.required]
    names = {part.name for part in parts}
    missing = [
        name
        for name in needed
        if name not in names and (name in operation.path_names or not takes_rest)
    ]
    if missing:
        raise ValueError(f"'{pattern}' does not give {', '.join(missing)}")
    return found


def _sent(argument: str, parameter: Parameter) -> Sent:
    return Sent(argument, wire_name(parameter), parameter.place, style_of(parameter))


def _pieces(operation: Operation, pattern: Pattern) -> tuple[str | Sent, ...]:
    """The path's text and its arguments, in order."""
    arguments = {part.name: part.argument for part in pattern.parts if part.place == "path"}
    parameters = {p.name: p for p in operation.parameters_in("path")}
    pieces = re.split(r"{([^{}]+)}", operation.path)
    return tuple(
        _sent(arguments[piece], parameters[piece])
        if index % 2
        else quote(piece, safe=IN_PATHS, errors="replace")
        for index, piece in enumerate(pieces)
        if piece
    )
