"""Enough of Smalltalk's grammar to know what a method declares, uses and sends."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<space>\s+|"(?:[^"]|"")*")
    |(?P<string>\#?'(?:[^']|'')*')
    |(?P<character>\$.)
    |(?P<number>-?\d+(?:r[0-9A-Z]+|(?:\.\d+)?(?:e-?\d+)?))
    |(?P<open>\#\(|\#\[)
    |(?P<symbol>\#(?:[A-Za-z][\w:]*|[-+*/\\<>=~,&|@%]+))
    |(?P<assign>:=)
    |(?P<keyword>[A-Za-z]\w*:)
    |(?P<name>[A-Z]\w*(?:\.[A-Z]\w*)+|[A-Za-z_]\w*)
    |(?P<mark>[][(){}.;^:|])
    |(?P<binary>[-+*/\\<>=~,&@%]+)""",
    re.X | re.S,
)
PSEUDO = frozenset(("self", "super", "true", "false", "nil", "thisContext"))


class SmalltalkSyntaxError(Exception):
    """The source is not a method."""


@dataclass
class Facts:
    """What a method says."""

    temporaries: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)  # variables that are read
    assigned: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)  # names that nothing in the method declares
    shadowing: set[str] = field(default_factory=set)  # declared where the name is taken
    numbers: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)  # words in a literal array without a #


class Parser:
    """Reads one method; `facts` contains what was found. Raises SmalltalkSyntaxError."""

    def __init__(self, source: str, outer: frozenset[str] = frozenset()) -> None:
        """`outer` are the names that are taken already: the class's instance variables."""
        self._tokens = _tokens(source)
        self._position = 0
        self._outer = outer
        self._scopes: list[set[str]] = []
        self.facts = Facts()
        self._method()

    @property
    def _kind(self) -> str:
        return self._tokens[self._position][0]

    @property
    def _text(self) -> str:
        return self._tokens[self._position][1]

    def _next(self) -> str:
        self._position += 1
        return self._tokens[self._position - 1][1]

    def _is(self, *texts: str) -> bool:
        return self._kind in ("mark", "binary", "open") and self._text in texts

    def _skip(self, text: str) -> bool:
        if self._is(text):
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise SmalltalkSyntaxError(f"{self._text!r} where {text!r} should be")

    def _declare(self, name: str) -> None:
        if name in self._outer or any(name in scope for scope in self._scopes):
            self.facts.shadowing.add(name)
        self._scopes[-1].add(name)

    def _method(self) -> None:
        self._scopes.append(set())
        if self._kind == "keyword":
            while self._kind == "keyword":
                self._next()
                self._declare(self._next())
        elif self._kind == "binary":
            self._next()
            self._declare(self._next())
        else:
            self._next()
        self._pragmas()
        self._body("end")

    def _pragmas(self) -> None:
        while self._is("<"):
            while not self._is(">"):
                self._next()
            self._next()

    def _body(self, end: str) -> None:
        self._temporaries()
        self._pragmas()
        while self._kind != "end" and not self._is(end):
            self._skip("^")
            self._expression()
            if not self._skip("."):
                break
        if end == "end":
            if self._kind != "end":
                raise SmalltalkSyntaxError(f"{self._text!r} where the method should end")
        else:
            self._expect(end)

    def _temporaries(self) -> None:
        if self._skip("|"):
            while self._kind == "name":
                self.facts.temporaries.add(self._text)
                self._declare(self._next())
            self._expect("|")

    def _expression(self) -> None:
        if self._kind == "name" and self._tokens[self._position + 1][0] == "assign":
            name = self._next()
            self._next()
            self._resolve(name)
            self.facts.assigned.add(name)
            self._expression()
            return
        self._primary()
        self._messages()
        while self._skip(";"):
            self._messages()

    def _messages(self) -> None:
        self._unary()
        self._binaries()
        while self._kind == "keyword":
            self._next()
            self._primary()
            self._unary()
            self._binaries()

    def _unary(self) -> None:
        while self._kind == "name":
            self._next()

    def _binaries(self) -> None:
        while self._kind == "binary" or self._is("|"):
            self._next()
            self._primary()
            self._unary()

    def _primary(self) -> None:
        if self._kind == "name":
            name = self._next()
            if name not in PSEUDO:
                self._resolve(name)
                self.facts.used.add(name)
        elif self._kind in ("string", "character", "symbol"):
            self._next()
        elif self._kind == "number":
            self.facts.numbers.add(self._next())
        elif self._kind == "open":
            self._literal_array()
        elif self._skip("("):
            self._expression()
            self._expect(")")
        elif self._skip("{"):
            while not self._is("}"):
                self._expression()
                self._skip(".")
            self._expect("}")
        elif self._skip("["):
            self._block()
        else:
            raise SmalltalkSyntaxError(f"{self._text!r} where an object should be")

    def _block(self) -> None:
        self._scopes.append(set())
        arguments = False
        while self._skip(":"):
            self._declare(self._next())
            arguments = True
        if arguments and not self._is("]"):
            self._expect("|")
        self._body("]")
        self._scopes.pop()

    def _literal_array(self) -> None:
        self._next()
        while not self._is(")", "]"):
            if self._kind == "end":
                raise SmalltalkSyntaxError("a literal array that does not end")
            if self._kind == "open" or self._is("("):
                self._literal_array()
                continue
            if self._kind in ("name", "keyword"):
                self.facts.bare.add(self._text)
            self._next()
        self._next()

    def _resolve(self, name: str) -> None:
        if not any(name in scope for scope in self._scopes):
            self.facts.unknown.add(name)


def _tokens(source: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(source):
        found = TOKEN.match(source, position)
        if not found:
            raise SmalltalkSyntaxError(f"{source[position]!r} is no part of Smalltalk")
        if found.lastgroup != "space":
            tokens.append((str(found.lastgroup), found.group()))
        position = found.end()
    return [*tokens, ("end", "the end"), ("end", "the end")]
