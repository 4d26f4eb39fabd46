"""The scripts in `examples/` are the guide's, and print what they say when filed in whole."""

import re
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from bridge.generator.dialects import DIALECTS
from bridge.generator.scripts import SELECTORS, scripts
from systems import Amber, System

FOLDER = Path(__file__).parents[2] / "examples"
NUMBER = re.compile(r"-?\d+\.\d+")
IMAGE_TRANSCRIPT = """!WriteStream methodsFor: 'tests'!
show: text
	self nextPutAll: text! !
Smalltalk at: #Transcript put: (WriteStream on: (String new: 1000))!
"""
AMBER_TRANSCRIPT = """Object subclass: #KeptTranscript
	instanceVariableNames: 'text'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'Tests'!
!KeptTranscript methodsFor: 'tests'!
initialize
	text := ''!
show: aString
	text := text , aString!
cr
	self show: String lf!
text
	^text! !
Transcript register: KeptTranscript new!
"""
"""Transcripts that keep what they show: an image without a screen has none that does."""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_script_is_as_it_is_rendered(dialect: str) -> None:
    committed = (FOLDER / f"{dialect}.st").read_text(encoding="utf-8")
    assert committed == scripts()[f"{dialect}.st"]


def transcript_of(
    system: System, script: str, default_client: Path, folder: Path, address: str
) -> str:
    """What a script shows that is filed in whole; in Amber, into the process that all tests use."""
    if isinstance(system, Amber):
        here = script.replace(
            "LMStudioRESTClient default", f"(LMStudioRESTClient baseUrl: '{address}')"
        )
        source = f"{AMBER_TRANSCRIPT}{here}".replace("'", "''")
        return system.run(
            f"| text | Importer new import: '{source}' readStream. "
            "text := Transcript current text. Transcript register: ConsoleTranscript new. text"
        )
    keeping, whole = folder / "transcript.st", folder / "script.st"
    keeping.write_text(IMAGE_TRANSCRIPT)
    whole.write_text(script)
    return system.run("Transcript contents", default_client, keeping, whole)


def test_a_script_prints_what_it_says(
    system: System, engine: LMStudioNeuroScopeClient, default_client: Path, tmp_path: Path
) -> None:
    script = (FOLDER / f"{system.name}.st").read_text(encoding="utf-8")
    said = re.findall(r'\t"prints (.*?)"!', script, re.S)
    assert len(said) == len(SELECTORS)
    shown = transcript_of(system, script, default_client, tmp_path, engine.base_url)
    texts = [re.escape(text) for text in NUMBER.split("\n".join(said))]
    printed = re.search(
        "(-?[0-9]+[.][0-9]+)".join(text.replace("\\\n", r"[^']*?\n") for text in texts),
        shown.replace("\r", "\n"),
    )
    assert printed, shown
    numbers = [float(number) for number in NUMBER.findall("\n".join(said))]
    assert [*map(float, printed.groups())] == pytest.approx(numbers, rel=1e-5)
