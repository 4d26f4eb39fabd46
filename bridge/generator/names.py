"""Names in Smalltalk made of names in a document: letters and digits of ASCII."""

import re
from collections.abc import Callable, Iterable
from hashlib import sha256

from anyascii import anyascii

MAX_LENGTH = 150
PSEUDO_VARIABLES = frozenset(
    ("self", "super", "true", "false", "nil", "thisContext", "thisProcess")
)
JAVASCRIPT_WORDS = frozenset(
    [
        "arguments",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "eval",
        "export",
        "extends",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "new",
        "null",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "static",
        "switch",
        "this",
        "throw",
        "try",
        "typeof",
        "undefined",
        "var",
        "void",
        "while",
        "with",
        "yield",
    ]
)
NO_ARGUMENTS = PSEUDO_VARIABLES | JAVASCRIPT_WORDS
"""What no argument can be called; Amber compiles Smalltalk to JavaScript, in its strict mode."""


def camel_case(name: str) -> str:
    """`activation_hooks` as `activationHooks`; other scripts are transliterated.

    A name that is too long is cut and ends in a digest. Raises ValueError if nothing is left.
    """
    words = re.findall(r"[a-zA-Z0-9]+", anyascii(name))
    joined = "".join(word[0].upper() + word[1:] for word in words)
    if not joined:
        raise ValueError(f"no letters or digits to make a Smalltalk name of: {name!r}")
    if joined[0].isdigit():
        joined = f"N{joined}"
    if len(joined) > MAX_LENGTH:
        joined = f"{joined[: MAX_LENGTH - 8]}{sha256(name.encode()).hexdigest()[:8]}"
    return joined[0].lower() + joined[1:]


def class_name(title: str) -> str:
    """`Swagger Petstore` as `SwaggerPetstore`."""
    name = camel_case(title)
    return name[0].upper() + name[1:]


def is_class_name(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][A-Za-z0-9]*", text))


def is_package_name(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*", text))


def words_of(names: Iterable[str], taken: frozenset[str] = frozenset()) -> list[str]:
    """Each name as an argument or keyword, distinct from the others and from what is taken.

    A name without a letter or digit becomes `value`; one that is taken gets `Value` behind it,
    one that came before a number.
    """
    found: list[str] = []
    for name in names:
        try:
            word = camel_case(name)
        except ValueError:
            word = "value"
        if word in taken:
            word = f"{word}Value"
        found.append(numbered(word, {*found}))
    return found


def numbered(
    name: str, taken: set[str] | frozenset[str], spelled: Callable[[str], str] = str
) -> str:
    """The name itself, or with the first number behind it that makes it a new one.

    `spelled` is how a name is among those that are taken: in small letters, where the names are
    those of files too.
    """
    number, found = 2, name
    while spelled(found) in taken:
        found, number = f"{name}{number}", number + 1
    return found
