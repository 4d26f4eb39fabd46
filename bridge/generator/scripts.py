"""The guide's way from a connection to a block inside the model, a script for each dialect."""

from bridge.generator.dialects import DIALECTS
from bridge.generator.packages import guide_of
from bridge.generator.templates import Templates

SELECTORS = (
    "exampleConnect",
    "exampleCapture",
    "exampleInductionHeads",
    "exampleIndirectObject",
    "exampleAblateHead",
)
"""The examples of the guide that a script consists of."""


def scripts() -> dict[str, str]:
    """The text of each script, by the name of its file."""
    templates = Templates()
    return {
        f"{name}.st": templates.render(
            "guide/script.st", selectors=SELECTORS, **guide_of(dialect, templates)
        )
        for name, dialect in DIALECTS.items()
    }
