"""The Smalltalk code blocks of Markdown documents, and the variables that a block uses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPENING = re.compile(r"\s*```smalltalk\s*$")
CLOSING = re.compile(r"\s*```\s*$")
DEFINITION = re.compile(r"^[ \t]*\w+( class)?\s*>>|\bsubclass:\s*#", re.M)
"""A method written as `Class>>selector`, or a class definition."""
PSEUDO = {"self", "super", "true", "false", "nil", "thisContext", "smalltalk"}
TOKEN = re.compile(
    r"""(?P<skip>\s+|"[^"]*")
    |(?P<literal>'(?:[^']|'')*'|\$.|\#\(|\#\[|\#\{|\#'(?:[^']|'')*'|\#[A-Za-z][\w:]*|\#[-+*/<>=~@%&|,]+
        |-?\d+(?:r[0-9A-Z]+)?(?:\.\d+)?(?:e-?\d+)?)
    |(?P<keyword>[A-Za-z_]\w*:(?!=))
    |(?P<name>[A-Za-z_]\w*)
    |(?P<assign>:=)
    |(?P<parameter>:)
    |(?P<mark>[()\[\]{}.;^])
    |(?P<bar>\|)
    |(?P<binary>[-+*/<>=~@%&,!\\?]+|→)
    |(?P<other>.)""",
    re.X | re.S,
)


LITERAL_OPENINGS = ("(", "[", "#(", "#[")


@dataclass(frozen=True)
class CodeBlock:
    """A block of code: its document, the number of its first line, and its text."""

    document: str
    line: int
    code: str

    @property
    def defines(self) -> bool:
        """Whether it defines a class or methods: that is not evaluated in a workspace."""
        return bool(DEFINITION.search(without_comments(self.code)))

    @property
    def sends_to_self(self) -> bool:
        """Whether it sends a message to self, which is nil in a workspace."""
        return bool(re.search(r"\bself\s+[a-z]", without_comments(self.code)))


@dataclass(frozen=True)
class Names:
    """What a workspace needs to know of a block of code."""

    declared: tuple[str, ...]
    """The temporaries that it declares at its start."""
    variables: tuple[str, ...]
    """The variables in lower case that it uses beside those and the arguments of its blocks."""
    globals: tuple[str, ...]
    """The variables in upper case: classes."""
    body: str
    """The code after the declaration."""
    shadowed: frozenset[str] = frozenset()
    """Those of the variables whose names a block inside declares for itself too."""
    uses: tuple[tuple[int, int], ...] = ()
    """Where in the body these variables are used, start and end."""

    def renamed(self, ending: str) -> "Names":
        """The same with another name for the shadowed variables, which Amber refuses to declare."""
        body = self.body
        for start, end in reversed(self.uses):
            if body[start:end] in self.shadowed:
                body = body[:end] + ending + body[end:]
        variables = tuple(
            name + ending if name in self.shadowed else name for name in self.variables
        )
        return Names(self.declared, variables, self.globals, body)


def blocks_in(folder: Path) -> list[CodeBlock]:
    """The blocks fenced as `smalltalk` in a folder's documents, in the order of their names.

    A block that begins inside another one, as in a class comment that is fenced as a whole, is one
    of its own; its quotation marks, escaped there, are freed.
    """
    return [
        block
        for document in sorted(folder.rglob("*.md"))
        for block in _blocks_of(document, str(document.relative_to(folder)))
    ]


def _blocks_of(document: Path, name: str) -> Iterator[CodeBlock]:
    start, lines = 0, []
    inside = False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if OPENING.match(line):
            start, lines, inside = number + 1, [], True
        elif inside and CLOSING.match(line):
            yield CodeBlock(name, start, "\n".join(lines).replace('\\"', '"'))
            inside = False
        else:
            lines.append(line)


def without_comments(code: str) -> str:
    """The code without what stands between quotation marks."""
    return re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", lambda found: found[0] * (found[0][0] == "'"), code)


def names_in(code: str) -> Names:
    """The variables of a block of code, found by what may follow what in Smalltalk."""
    declared, body = _declaration(code)
    scopes: list[set[str]] = [set(declared)]  # of the blocks around, the outermost first
    used: dict[str, None] = {}
    uses: list[tuple[int, int]] = []
    inside: set[str] = set()  # what blocks declare for themselves
    operand = True  # whether a receiver or an argument is expected, not a message
    depth = 0  # of literal arrays
    declaring = False
    previous = ""
    for match in TOKEN.finditer(body):
        kind, text = match.lastgroup, match.group()
        if kind == "skip":
            continue
        if depth:
            depth += (text in LITERAL_OPENINGS) - (text in (")", "]"))
            operand = False
            continue
        if kind == "bar":
            declaring = not declaring and operand and previous in ("[", "|")
            operand = True
        elif kind == "name":
            if declaring or previous == ":":
                scopes[-1].add(text)
                inside.add(text)
            elif operand and text not in PSEUDO and not any(text in scope for scope in scopes):
                used[text] = None
                uses.append(match.span())
            operand = declaring
        elif kind == "literal":
            depth = text in LITERAL_OPENINGS[2:]
            operand = False
        else:
            if text == "[":
                scopes.append(set())
            elif text == "]" and len(scopes) > 1:
                scopes.pop()
            operand = text not in (")", "]", "}", ";")
        previous = text
    return Names(
        declared,
        tuple(name for name in used if not name[0].isupper()),
        tuple(name for name in used if name[0].isupper()),
        body,
        frozenset(inside & used.keys()),
        tuple(uses),
    )


def _declaration(code: str) -> tuple[tuple[str, ...], str]:
    """The temporaries declared at the start of the code, and what follows them."""
    found = re.match(r"((?:\s|\"[^\"]*\")*)\|([\w\s]*)\|", code)
    if not found:
        return (), code
    return tuple(found[2].split()), found[1] + code[found.end() :]
