"""Names that a generated class or method must not take: an image has them already."""

from functools import cache
from importlib.resources import files


@cache
def reserved_selectors() -> frozenset[str]:
    """The selectors of what every object understands in some Smalltalk."""
    return _words("selectors.txt")


@cache
def reserved_globals() -> frozenset[str]:
    """The names of the classes and other globals of the images."""
    return _words("globals.txt")


def _words(name: str) -> frozenset[str]:
    lines = files(__name__).joinpath(name).read_text(encoding="ascii").splitlines()
    return frozenset(word for line in lines for word in line.partition("#")[0].split())
