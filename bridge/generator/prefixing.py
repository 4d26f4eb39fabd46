"""The classes that every client rests on, under a foreign client's own names.

Their templates are written with the bridge's names, as Smalltalk that can be read. Two clients in
one image must not share them, and a foreign one must not speak of language models: each gets
copies whose names begin with its own prefix.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from bridge.generator.model import Method, Package, SmalltalkClass
from bridge.generator.naming import BRIDGE_CLIENT, OURS, Naming

OF_THE_IMAGE = frozenset(("ByteArray", "FloatArray", "NetworkError", "TypedArray"))
"""Classes that some images lack and others have: they keep their names."""


def renamed(package: Package, naming: Naming) -> Package:
    """A package of the bridge's templates under the names of a client; unchanged for the bridge."""
    if naming.is_bridge:
        return package
    others = [
        cls.name
        for each in (package, *package.requires)
        for cls in each.classes
        if not cls.name.startswith(OURS) and cls.name not in OF_THE_IMAGE
    ]
    rename = _renaming([name for name in others if not name.startswith(naming.prefix)], naming)
    return replace(
        package,
        name=rename(package.name),
        classes=tuple(_class(cls, rename) for cls in package.classes),
        yielding=frozenset(map(rename, package.yielding)),
    )


def _renaming(others: list[str], naming: Naming) -> Callable[[str], str]:
    """What replaces names in a text: of the bridge's classes, of others, of the bridge itself."""
    ours = "|".join(OURS)
    alternatives = [
        rf"(?P<client>\b{BRIDGE_CLIENT}\b)",
        rf"(?P<ours>(?<![A-Za-z0-9])(?:{ours})(?=[A-Z-]))",
        r"(?P<bridge>\bthe NeuroScope bridge\b|\bNeuroScope(?:'s)?\b)",
    ]
    if others:
        alternatives.append(rf"(?P<other>\b(?:{'|'.join(sorted(others))})\b)")
    pattern = re.compile("|".join(alternatives))

    def replacement(found: re.Match[str]) -> str:
        if found["client"]:
            return naming.class_name
        if found["ours"]:
            return naming.prefix
        if found["bridge"]:
            return naming.class_name
        return f"{naming.prefix}{found[0]}"

    return lambda text: pattern.sub(replacement, text)


def _class(cls: SmalltalkClass, rename: Callable[[str], str]) -> SmalltalkClass:
    return replace(
        cls,
        name=rename(cls.name),
        superclass=rename(cls.superclass),
        comment=rename(cls.comment),
        methods=tuple(_method(method, rename) for method in cls.methods),
        class_methods=tuple(_method(method, rename) for method in cls.class_methods),
    )


def _method(method: Method, rename: Callable[[str], str]) -> Method:
    return Method(rename(method.protocol), rename(method.source))
