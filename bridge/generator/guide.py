"""The guide: examples that a workspace, class-side methods and a help book are rendered from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge.generator.errors import TemplateError
from bridge.generator.model import Method, SmalltalkClass
from bridge.generator.templates import Templates

GUIDE = "guide/guide.md"
SECTION = re.compile(
    r"## (?P<title>[^\n]+)\n(?P<holder>\w+) class >> (?P<selector>\w+)\n\n(?P<prose>[^`]+?)\n\n"
    r"```smalltalk\n(?P<code>.*?)\n```\n\n```text\n(?P<printed>.*?)\n```\n",
    re.S,
)


@dataclass(frozen=True)
class Example:
    """One section: statements of which the last one's value prints as `printed`.

    `holder` and `selector` say which class has it as a class-side method.
    """

    title: str
    holder: str
    selector: str
    prose: str
    code: str
    printed: str

    @property
    def statements(self) -> tuple[str, str]:
        """All but the last statement, which begins a line, and that one."""
        before, dot, last = self.code.rpartition(".\n")
        return before + dot, last

    def method(self, pragma: str) -> Method:
        """It as a method that answers the last statement's value, with a pragma if there is one."""
        before, last = self.statements
        lines = [f'"{self.prose}"', *([pragma] if pragma else []), f"{before}^{last}"]
        body = "\n".join(lines).replace("\n", "\n\t")
        return Method("examples", f"{self.selector}\n\t{body}")


def examples_of(templates: Templates) -> tuple[Example, ...]:
    """The sections of the guide, in their order. Raises TemplateError for what is none."""
    text = templates.render(GUIDE)
    rest = SECTION.sub("", text).strip()
    if rest:
        raise TemplateError(f"{GUIDE}: not a section with its class, prose, code and print: {rest}")
    return tuple(Example(**match.groupdict()) for match in SECTION.finditer(text))


def with_examples(
    classes: Iterable[SmalltalkClass], examples: Iterable[Example], pragma: str
) -> tuple[SmalltalkClass, ...]:
    """The classes, each with the examples that it holds as methods of its class side."""
    held = [*examples]
    return tuple(
        replace(
            cls,
            class_methods=cls.class_methods
            + tuple(each.method(pragma) for each in held if each.holder == cls.name),
        )
        for cls in classes
    )
