"""Class templates, rendered and read into the intermediate representation.

A class template renders to one or more classes in file-out form, as an image would write it: a
class definition, its comment, and methods by protocol. Its chunks end in an exclamation mark; one
that is text is doubled.
"""

import re

from bridge.generator.errors import TemplateError
from bridge.generator.model import Method, SmalltalkClass

DEFINITION = re.compile(
    r"^(?P<superclass>\w+) subclass: #(?P<name>\w+)\s+"
    r"instanceVariableNames: '(?P<variables>[^']*)'\s+classVariableNames: ''\s+"
    r"poolDictionaries: ''\s+category: '[^']*'$"
)
COMMENT = re.compile(r"^(?P<name>\w+) commentStamp: '[^']*' prior: 0$")
CHUNK = re.compile(r"((?:[^!]|!!)*)(?:!|$)")
PROTOCOL = re.compile(r"^(?P<name>\w+)(?P<meta> class)? methodsFor: '(?P<protocol>[^']+)'$")


class _Draft:
    """A class while its chunks are being read."""

    def __init__(self, definition: re.Match[str]) -> None:
        self.superclass = definition["superclass"]
        self.variables = tuple(definition["variables"].split())
        self.comment = ""
        self.methods: dict[bool, list[Method]] = {False: [], True: []}


def read_classes(text: str, origin: str) -> tuple[SmalltalkClass, ...]:
    """The classes in a file-out; `origin` names the template in errors."""
    drafts: dict[str, _Draft] = {}
    chunks = [chunk.replace("!!", "!").strip() for chunk in CHUNK.findall(text)]
    position = 0
    while position < len(chunks):
        chunk = chunks[position]
        position += 1
        if not chunk:
            continue
        if definition := DEFINITION.match(chunk):
            drafts[definition["name"]] = _Draft(definition)
        elif comment := COMMENT.match(chunk):
            _draft(drafts, comment, origin).comment = chunks[position]
            position += 1
        elif protocol := PROTOCOL.match(chunk):
            methods = _draft(drafts, protocol, origin).methods[bool(protocol["meta"])]
            while position < len(chunks) and chunks[position]:
                methods.append(Method(protocol["protocol"], chunks[position]))
                position += 1
        else:
            raise TemplateError(f"{origin}: not a chunk of a file-out: {chunk[:80]!r}")
    return tuple(
        SmalltalkClass(
            name,
            draft.superclass,
            draft.variables,
            draft.comment,
            tuple(draft.methods[False]),
            tuple(draft.methods[True]),
        )
        for name, draft in drafts.items()
    )


def _draft(drafts: dict[str, _Draft], chunk: re.Match[str], origin: str) -> _Draft:
    if chunk["name"] not in drafts:
        raise TemplateError(f"{origin}: {chunk['name']} is used before it is defined")
    return drafts[chunk["name"]]
