"""Servers, their variables filled in and their addresses made absolute where they can be."""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from bridge.generator.api.references import Node


@dataclass(frozen=True)
class ServerVariable:
    name: str
    default: str
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Server:
    """One server; `template` has its variables in braces, `url` their defaults in place."""

    template: str
    url: str
    variables: tuple[ServerVariable, ...] = ()
    description: str = ""


def servers_of(holder: Node) -> tuple[Server, ...]:
    """The servers of a document, a path or an operation; none if it names none."""
    return tuple(_server(node) for node in holder.items("servers"))


def _server(node: Node) -> Server:
    variables = tuple(
        ServerVariable(name, entry.text("default"), entry.texts("enum"), entry.text("description"))
        for name, entry in node.entries("variables").items()
    )
    template = node.text("url")
    if node.document.startswith("http") and "{" not in template.split("/")[0]:
        template = urljoin(node.document, template)
    defaults = {variable.name: variable.default for variable in variables}
    url = re.sub(r"{([^{}]+)}", lambda found: defaults.get(found[1], found[0]), template)
    return Server(template, url.rstrip("/"), variables, node.text("description"))
