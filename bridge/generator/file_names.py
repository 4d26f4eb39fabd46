"""Names of files for methods: one a selector, on any file system."""

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256

MAX_NAME = 200
SPECIALS = {
    "+": "plus",
    "-": "minus",
    "=": "equals",
    "<": "less",
    ">": "more",
    "%": "percent",
    "&": "and",
    "|": "pipe",
    "*": "star",
    "/": "slash",
    "\\": "backslash",
    "~": "tilde",
    "?": "wat",
    ",": "comma",
    "@": "at",
}


def percent_escaped(selector: str) -> str:
    """`at:put:` as it is; `//` as `%2F%2F`: NeuroScope's own tree."""
    return selector.replace("/", "%2F")


def cypress(selector: str) -> str:
    """`at:put:` as `at.put.`, `>=` as `^more.equals`: Cypress' and so FileTree's names."""
    if selector[0] in SPECIALS:
        return "^" + ".".join(SPECIALS[character] for character in selector)
    return selector.replace(":", ".")


def file_names(selectors: Iterable[str], spelling: Callable[[str], str]) -> dict[str, str]:
    """Selector to a file's name without ending, distinct where letter case does not count.

    A name that is too long for a file system is cut and ends in a digest of the selector.
    """
    given = list(selectors)
    same = Counter(selector.lower() for selector in given)
    seen: Counter[str] = Counter()
    names = {}
    for selector in sorted(given):
        name = spelling(selector)
        if len(name) > MAX_NAME:
            name = f"{name[:MAX_NAME]}-{sha256(selector.encode()).hexdigest()[:8]}"
        if same[selector.lower()] > 1:
            seen[selector.lower()] += 1
            name = f"{name}..{seen[selector.lower()]}"
        names[selector] = name
    return names
