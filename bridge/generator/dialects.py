"""What each Smalltalk system gets: the classes that its base image lacks, the file formats."""

from dataclasses import dataclass

from bridge.generator.errors import GeneratorError


@dataclass(frozen=True)
class Dialect:
    """One Smalltalk system; its shim is the template `shims/NAME.st`.

    `extras` are class templates that its base image has no match for, `needs` the names of the
    packages of that system which the shim uses.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    extras: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


OWN_JSON = ("LMStudioJson", "LMStudioBase64")

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("amber", "Amber 0.30 and later", ("fileout",)),
        Dialect("cuis", "Cuis 7", ("cuis",), ("LMStudioBase64",), ("WebClient", "JSON")),
        Dialect("gst", "GNU Smalltalk 3.2 and later", ("fileout",), OWN_JSON),
        Dialect("pharo", "Pharo 10 to 13", ("tonel",)),
        Dialect("squeak", "Squeak 5.3, 6.0 and in the browser", ("fileout", "tree"), OWN_JSON),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of this name; an unknown name is an error that lists the known ones."""
    if name not in DIALECTS:
        raise GeneratorError(f"no dialect {name!r}; there are {', '.join(DIALECTS)}")
    return DIALECTS[name]
