"""The Smalltalk examples of the documents answer what stands below them, in every system."""

import re
from pathlib import Path

import pytest
from documents import examples

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer


@pytest.mark.parametrize(("code", "below"), examples("smalltalk"))
def test_an_example_answers_what_stands_below_it(
    code: str,
    below: str,
    system: System,
    engine: LMStudioNeuroScopeClient,
    features_folder: Path,
):
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    code = code.replace("sets/sae", str(features_folder / "sae"))
    temporaries, statements = code.replace("LMStudioRESTClient default", here).split("\n", 1)
    parted = statements.strip().replace(".\n", ";;")
    assert answer(system, f"{temporaries} {parted}") == value(below.strip())


def value(printed: str) -> str | list[int]:
    """A String or an Array of Integers as Smalltalk prints it."""
    if numbers := re.fullmatch(r"#\((.*)\)", printed):
        return [int(each) for each in numbers[1].split()]
    text = re.fullmatch(r"'(.*)'", printed, re.S)
    assert text, printed
    return text[1].replace("''", "'")
