"""What good Smalltalk of ours looks like, checked on the intermediate representation."""

import re
from statistics import median

from bridge.generator.dialects import Dialect
from bridge.generator.errors import GeneratorError
from bridge.generator.model import Method, Package, SmalltalkClass

MAX_LINES = 30
MAX_MEDIAN_BYTES = 200
TOKEN = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|\$.|#?[A-Za-z]\w*(?::(?!=))?|:\w+|\S", re.S)


class LintError(GeneratorError):
    """Generated code that breaks a rule; lists every place."""


def lint(packages: tuple[Package, ...], dialect: Dialect) -> None:
    """Raise LintError if any class breaks a rule."""
    found = [
        f"{name}: {problem}"
        for package in packages
        for cls in package.classes
        for name, problem in _class_problems(cls)
    ]
    sizes = [len(m.source.encode()) for p in packages for c in p.classes for m in _all(c)]
    if median(sizes) >= MAX_MEDIAN_BYTES:
        found.append(f"{dialect.name}: the median method has {median(sizes):.0f} bytes")
    if found:
        raise LintError("\n".join(found))


def _all(cls: SmalltalkClass) -> tuple[Method, ...]:
    return (*cls.class_methods, *cls.methods)


def _class_problems(cls: SmalltalkClass) -> list[tuple[str, str]]:
    problems = []
    if "Example:" not in cls.comment:
        problems.append((cls.name, "the class comment has no example"))
    problems += [
        (cls.name, f"the class comment does not mention {variable}")
        for variable in cls.variables
        if variable not in cls.comment
    ]
    for method in _all(cls):
        problems += [(f"{cls.name}>>{method.selector}", p) for p in _method_problems(method)]
    return problems


def _method_problems(method: Method) -> list[str]:
    problems = []
    if not method.comment.endswith((".", "?")):
        problems.append("no comment of a sentence")
    if method.source.count("\n") + 1 > MAX_LINES:
        problems.append(f"longer than {MAX_LINES} lines")
    return problems
