"""Security: what a client is given once, and sends with the operations that ask for it."""

from collections.abc import Set
from dataclasses import dataclass

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.api.security import Requirement, SecurityScheme, requirements_of
from bridge.generator.describing import sentence
from bridge.generator.names import camel_case
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.reserved import reserved_selectors
from bridge.generator.sending import is_token
from bridge.generator.text import percent

AUTHORIZATION = "Authorization"
BY_TOKEN = ("oauth2", "openIdConnect")
Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Credential:
    """One scheme. `word` is its name in the client, `place` and `name` say where it travels.

    `prefix` comes before what is given; a scheme that `is_basic` is given a user and a password.
    """

    word: str
    place: str
    name: str
    prefix: str
    is_basic: bool
    comment: str

    @property
    def description(self) -> tuple[str, str, str]:
        """What the base classes are told of it."""
        return (self.word, self.place, self.name)


@dataclass(frozen=True)
class Credentials:
    """Those of an API by the names of their schemes, and what most operations ask for."""

    by_scheme: dict[str, Credential]
    usual: Alternatives

    @property
    def all(self) -> tuple[Credential, ...]:
        return tuple(self.by_scheme.values())

    @property
    def descriptions(self) -> tuple[str, ...]:
        return tuple(text for each in self.all for text in each.description)

    def alternatives(self, requirements: tuple[Requirement, ...]) -> Alternatives:
        """What may be sent, each a tuple of words; a scheme that is not sent is not among them."""
        return tuple(
            tuple(self.by_scheme[name].word for name, _ in each if name in self.by_scheme)
            for each in requirements
        )

    def of_operation(self, operation: Operation) -> Alternatives | None:
        """What an operation asks for; None if that is what most do."""
        if operation.node.get("security") is None:
            return None
        return self.alternatives(operation.security)


def credentials_of(api: Api, taken: Set[str], problems: list[Problem]) -> Credentials:
    """The credentials of an API; no selector for them is one that is taken."""
    found: dict[str, Credential] = {}
    words: set[str] = set()
    for scheme in api.security_schemes.values():
        how = _how(scheme)
        if isinstance(how, str):
            text = f"the security scheme {scheme.name} is not sent: {how}"
            problems.append(Problem(ProblemKind.DOUBTFUL, "#/components/securitySchemes", text))
            continue
        word = _word(scheme, {*taken, *reserved_selectors()} | {f"{each}:" for each in words})
        words.add(word)
        place, name, prefix, is_basic = how
        found[scheme.name] = Credential(
            word, place, name, prefix, is_basic, _comment(scheme, place, name)
        )
    credentials = Credentials(found, ())
    return Credentials(found, credentials.alternatives(requirements_of(api.node, api.node)))


def _how(scheme: SecurityScheme) -> tuple[str, str, str, bool] | str:
    """Place, name, prefix, and whether it is Basic; or why it is not sent."""
    if scheme.type in BY_TOKEN or (scheme.type, scheme.http) == ("http", "bearer"):
        return ("header", AUTHORIZATION, "Bearer ", False)
    if (scheme.type, scheme.http) == ("http", "basic"):
        return ("header", AUTHORIZATION, "", True)
    if scheme.type == "http" and is_token(scheme.http):
        return ("header", AUTHORIZATION, f"{scheme.http.capitalize()} ", False)
    if scheme.type == "apiKey" and scheme.place == "query":
        return ("query", percent(scheme.parameter), "", False)
    if scheme.type == "apiKey" and scheme.place in ("header", "cookie"):
        if is_token(scheme.parameter):
            return (scheme.place, scheme.parameter, "", False)
        return f"HTTP does not allow its name: {scheme.parameter!r}"
    if scheme.type == "mutualTLS":
        return "a certificate is not a part of a request"
    return f"its type is {scheme.type or 'not given'}"


def _word(scheme: SecurityScheme, taken: Set[str]) -> str:
    try:
        natural = camel_case(scheme.name)
    except ValueError:
        natural = "credential"
    word, number = natural, 2
    while {f"{word}:", f"{word}:password:"} & {*taken}:
        word, number = f"{natural}{'' if number == 2 else number}Credential", number + 1
    return word


def _comment(scheme: SecurityScheme, place: str, name: str) -> str:
    if name == AUTHORIZATION and place == "header":
        where = f"the header {name}"
    else:
        where = f"the {'query parameter' if place == 'query' else place} {name}"
    text = f"Set what is sent as {where}; nil sends nothing."
    return f"{text} {sentence(scheme.description)}" if scheme.description else text
