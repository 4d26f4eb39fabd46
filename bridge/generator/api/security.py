"""Security: the schemes of a document, and which of them an operation accepts."""

from dataclasses import dataclass

from bridge.generator.api.references import Node
from bridge.generator.errors import DocumentError
from bridge.generator.problems import Problem, ProblemKind

Requirement = tuple[tuple[str, tuple[str, ...]], ...]
"""Schemes by name with their scopes, all of which a request must satisfy."""


@dataclass(frozen=True)
class SecurityScheme:
    """One scheme; `place` and `parameter` are those of an API key, `http` an HTTP scheme."""

    name: str
    type: str
    http: str = ""
    place: str = ""
    parameter: str = ""
    description: str = ""


def security_schemes_of(document: Node, problems: list[Problem]) -> dict[str, SecurityScheme]:
    """The document's schemes by name; what cannot be read is a problem."""
    found = {}
    try:
        components = document.object("components")
        for name, node in (components.entries("securitySchemes") if components else {}).items():
            found[name] = _scheme(name, node.resolved())
    except DocumentError as error:
        problems.append(Problem(ProblemKind.DOUBTFUL, error.pointer, error.problem))
    return found


def requirements_of(document: Node, operation: Node) -> tuple[Requirement, ...]:
    """The alternatives that an operation accepts, in order; none if it asks for nothing."""
    holder = operation if operation.get("security") else document
    return tuple(
        tuple(sorted((name, tuple(_scopes(scopes))) for name, scopes in node.value.items()))
        for node in holder.items("security")
        if isinstance(node.value, dict)
    )


def _scopes(value: object) -> list[str]:
    return sorted(map(str, value)) if isinstance(value, list) else []


def _scheme(name: str, node: Node) -> SecurityScheme:
    return SecurityScheme(
        name,
        node.text("type"),
        node.text("scheme").lower(),
        node.text("in"),
        node.text("name"),
        node.text("description"),
    )
