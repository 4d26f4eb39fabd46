"""What good and portable Smalltalk looks like here, checked on the intermediate representation."""

import re
from collections import Counter
from statistics import median

from bridge.generator.dialects import Dialect
from bridge.generator.errors import GeneratorError
from bridge.generator.model import Method, Package, SmalltalkClass
from bridge.generator.syntax import Facts, Parser, SmalltalkSyntaxError

MAX_LINES = 30
MAX_MEDIAN_BYTES = 200
ACCESSOR = re.compile(r"\^[a-z]\w*|(\w+ := \w+\.?\s*)+")
NO_POINT = re.compile(r"\d+e")


class LintError(GeneratorError):
    """Generated code that breaks a rule; lists every place."""


def lint(packages: tuple[Package, ...], dialect: Dialect, *, style: bool = True) -> None:
    """Raise LintError if a class or method of the packages breaks a rule.

    Without `style` only the rules count that every image has: a method is Smalltalk, of ASCII,
    and uses what there is.
    """
    classes = {cls.name: cls for package in packages for cls in package.classes}
    known = {*classes, *dialect.globals}
    found = []
    for cls in classes.values():
        found += [*_in_protocols(cls), *_in_methods(cls, _variables(cls, classes), known)]
        if style:
            found += [*_in_comment(cls), *_in_style(cls)]
    problems = [f"{dialect.name}, {place}: {problem}" for place, problem in found]
    sizes = [len(m.source.encode()) for c in classes.values() for m in c.all_methods]
    if style and median(sizes) >= MAX_MEDIAN_BYTES:
        problems.append(f"{dialect.name}: the median method has {median(sizes):.0f} bytes")
    if problems:
        raise LintError("\n".join(problems))


def _variables(cls: SmalltalkClass, classes: dict[str, SmalltalkClass]) -> frozenset[str]:
    above = classes.get(cls.superclass)
    return frozenset(cls.variables) | (_variables(above, classes) if above else frozenset())


def _in_comment(cls: SmalltalkClass) -> list[tuple[str, str]]:
    problems = [] if "Example:\n" in cls.comment else ["its comment has no example"]
    problems += [
        f"its comment does not explain {variable}"
        for variable in cls.variables
        if not re.search(rf"^\t{variable}\t<", cls.comment, re.M)
    ]
    if not cls.comment.isascii():
        problems.append("its comment is not ASCII")
    return [(cls.name, problem) for problem in problems]


def _in_protocols(cls: SmalltalkClass) -> list[tuple[str, str]]:
    return [
        (f"{cls.name}{side}>>{selector}", "defined twice")
        for side, methods in ((" class", cls.class_methods), ("", cls.methods))
        for selector, count in Counter(m.selector for m in methods).items()
        if count > 1
    ]


def _in_methods(
    cls: SmalltalkClass, variables: frozenset[str], known: set[str]
) -> list[tuple[str, str]]:
    found = []
    for side, methods, names in (
        (" class", cls.class_methods, frozenset[str]()),
        ("", cls.methods, variables),
    ):
        for method in methods:
            place = f"{cls.name}{side}>>{method.selector}"
            found += [(place, problem) for problem in _in_method(method, names, known)]
    return found


def _in_method(method: Method, variables: frozenset[str], known: set[str]) -> list[str]:
    problems = [] if method.source.isascii() else ["not ASCII"]
    try:
        facts = Parser(method.source, variables).facts
    except SmalltalkSyntaxError as problem:
        return [*problems, f"syntax: {problem}"]
    return problems + _in_facts(facts, variables, known)


def _in_style(cls: SmalltalkClass) -> list[tuple[str, str]]:
    found = []
    for side, methods in ((" class", cls.class_methods), ("", cls.methods)):
        for method in methods:
            place = f"{cls.name}{side}>>{method.selector}"
            if not method.comment.rstrip().endswith((".", "?")) and not _is_plain(method):
                found.append((place, "no comment of a sentence"))
            if method.source.count("\n") >= MAX_LINES:
                found.append((place, f"longer than {MAX_LINES} lines"))
    return found


def _is_plain(method: Method) -> bool:
    """Whether a method without a comment does what its name says: it gets or sets variables."""
    return not method.comment and bool(ACCESSOR.fullmatch(method.body.strip()))


def _in_facts(facts: Facts, variables: frozenset[str], known: set[str]) -> list[str]:
    named = {
        "undeclared": facts.unknown - variables - known,
        "declared twice": facts.shadowing,
        "never used": facts.temporaries - facts.used,
        "never assigned": facts.temporaries - facts.assigned,
        "with an underscore": {n for n in facts.used | facts.temporaries if "_" in n},
        "without # in a literal array": facts.bare,
        "an exponent without a point": {n for n in facts.numbers if NO_POINT.match(n)},
    }
    return [f"{what}: {', '.join(sorted(names))}" for what, names in named.items() if names]
