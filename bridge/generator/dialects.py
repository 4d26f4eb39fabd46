"""What each Smalltalk system gets: the shim, the classes it lacks, the file formats."""

from dataclasses import dataclass

from bridge.generator.errors import GeneratorError


@dataclass(frozen=True)
class Dialect:
    """One Smalltalk system. `extras` are class templates that its base image has no match for."""

    name: str
    title: str
    formats: tuple[str, ...]
    extras: tuple[str, ...] = ()


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("amber", "Amber 0.30 and later", ("fileout",)),
        Dialect(
            "gst", "GNU Smalltalk 3.2 and later", ("fileout",), ("LMStudioJson", "LMStudioBase64")
        ),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of this name; an unknown name is an error that lists the known ones."""
    if name not in DIALECTS:
        raise GeneratorError(f"no dialect {name!r}; there are {', '.join(sorted(DIALECTS))}")
    return DIALECTS[name]
