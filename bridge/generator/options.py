"""What may be given to an operation beside what must be: its options, and the class of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge.generator.api.operations import Operation
from bridge.generator.api.schemas import Schema
from bridge.generator.describing import kind_of, sample_type, sentence
from bridge.generator.names import words_of
from bridge.generator.reserved import reserved_selectors
from bridge.generator.sending import media_types, style_of, wire_name
from bridge.generator.text import is_plain

BODY = "body"
CONTENT_TYPE = "Content-Type"


@dataclass(frozen=True)
class Option:
    """One of them. `key` is its name in a record of options, `word` that of its setter.

    `name`, `place` and `style` say how it travels; they are empty for a member of a JSON body.
    """

    key: str
    word: str
    comment: str
    type: str  # of an example
    name: str = ""
    place: str = ""
    style: str = ""
    required: bool = False

    @property
    def description(self) -> tuple[str, str, str, str]:
        """What the base classes are told of it."""
        return (self.key, self.name, self.place, self.style)


@dataclass(frozen=True)
class OptionsClass:
    """The class of an operation's options; `selector` is that of the method that takes them."""

    name: str
    selector: str
    options: tuple[Option, ...]


def options_of(operation: Operation, given: Iterable[tuple[str, str]]) -> list[Option]:
    """The options of an operation, where what is given is an argument already.

    What is given is places and names.
    """
    known = {*given}
    parameters = [p for p in operation.parameters if p.place != "path" and p.key not in known]
    entries = [
        (
            p.name,
            _comment(
                p.description,
                f"Set the parameter {p.name}",
                f"{kind_of(p.schema)}; in the {p.place}{'; deprecated' if p.deprecated else ''}",
            ),
            sample_type(p.schema),
            wire_name(p),
            p.place,
            style_of(p),
            p.required,
        )
        for p in parameters
    ]
    types = media_types(operation.body) if operation.body else ()
    if operation.body and types:
        if (BODY, BODY) not in known:
            text = _comment(operation.body.description, "Set the body", " or ".join(types))
            entries.append((BODY, text, "object", BODY, BODY, "", operation.body.required))
        if len(types) > 1 or any("*" in each for each in types):
            text = _comment("", "Choose the body's media type", " or ".join(types))
            entries.append((CONTENT_TYPE, text, "string", CONTENT_TYPE, "type", "", False))
    words = words_of(entry[0] for entry in entries)
    keys = _keys([entry[0] for entry in entries], words)
    return [
        Option(key, word, *entry[1:]) for key, word, entry in zip(keys, words, entries, strict=True)
    ]


def members_of(schema: Schema | None, given: Iterable[str]) -> list[Option]:
    """The members of a JSON body, but for those that are arguments already, as options."""
    members = {
        name: member
        for name, member in (schema.properties if schema else {}).items()
        if name not in {*given}
    }
    return [
        Option(
            name,
            word,
            _comment(member.node.text("description"), f"Set the field {name}", kind_of(member)),
            sample_type(member),
        )
        for word, (name, member) in zip(words_of(members), members.items(), strict=True)
    ]


def setters(options: Iterable[Option], taken: frozenset[str]) -> tuple[Option, ...]:
    """The options with words that are distinct as keywords, and none that is taken."""
    found: dict[str, Option] = {}
    for option in options:
        word = option.word
        if f"{word}:" in taken | reserved_selectors():
            word = f"{word}Value"
        number, name = 2, word
        while name in found:
            name, number = f"{word}{number}", number + 1
        found[name] = replace(option, word=name)
    return tuple(found.values())


def _comment(said: str, otherwise: str, kind: str) -> str:
    """A sentence: what the document says, or something else, and of which kind the value is."""
    return f"{sentence(said or otherwise).removesuffix('.')} ({kind})."


def _keys(names: list[str], words: list[str]) -> list[str]:
    """What the options are called in a record: as in the document, or else as their setter.

    A name that source code cannot contain as it is, or that came before, is not used.
    """
    found: list[str] = []
    for name, word in zip(names, words, strict=True):
        key = name if is_plain(name) and name not in found else word
        number, base = 2, key
        while key in found:
            key, number = f"{base}{number}", number + 1
        found.append(key)
    return found
