"""The slips of a document's code that a reader mends without a thought.

`(layer: 8 neuron: 1247)` is no expression: it becomes `(8 -> 1247)`, as the analyzers here take a
neuron, and `(layer: 8)` becomes `8`. Of two keywords in a row, as in `find: inText: 'a'`, the
second is dropped. A number that is joined to a text that is shown is made a text first.
"""

import re

NEURON = re.compile(r"\(layer: (\w+) neuron: (\w+)\)")
LAYER = re.compile(r"\(layer: (\w+)\)")
TWO_KEYWORDS = re.compile(r"([a-z]\w*:)\s+[a-z]\w*:(?=\s)")
SHOWN = re.compile(r"Transcript show: [^;.]*", re.S)
JOINED = re.compile(r",(\s*[a-z]\w*(?:\s+[a-z]\w*)*)(?=\s*(?:,|$))")


def edited(code: str) -> str:
    """The code without these slips; the same where there are none."""
    code = NEURON.sub(r"(\1 -> \2)", code)
    code = LAYER.sub(r"\1", code)
    code = TWO_KEYWORDS.sub(r"\1", code)
    return SHOWN.sub(lambda found: JOINED.sub(_as_text, found[0]), code)


def _as_text(found: re.Match[str]) -> str:
    return found[0] if found[1].endswith("asString") else f",{found[1]} asString"
