"""What the bridge lends to an image leaves the methods that a class has."""

import re
from pathlib import Path

import pytest

from bridge.resources import resource_folder
from systems import System

OWN = """!String methodsFor: 'own'!
repeat: anObject
	^'its own'! !
"""
CLASSES = resource_folder("templates") / "classes"
TESTS = resource_folder("templates") / "tests"
LENT = [
    selector
    for file in sorted(CLASSES.glob("NeuroScope*Supplement.st"))
    for selector in re.findall(r"add: #([\w:]+|[-+*/<>=,@]+) -> ", file.read_text())
]


def test_what_a_class_understands_stays(system: System, tmp_path: Path) -> None:
    own = tmp_path / "own.st"
    own.write_text(OWN)
    said = system.run("NeuroScopeImageSupplement initialize. 'ab' repeat: 3", own)
    assert said == "its own"


@pytest.mark.parametrize("selector", sorted(set(LENT)))
def test_an_sunit_test_sends_each_message_that_is_lent(selector: str) -> None:
    source = "".join(file.read_text() for file in TESTS.glob("*Test.st"))
    keywords = [re.escape(part) for part in re.findall(r"\w+:|\w+|\W+", selector)]
    assert re.search(rf"(?<![\w#]){'[^.!]*?'.join(keywords)}(?![\w:])", source), selector


def test_supplements_lend_something() -> None:
    assert len(LENT) > 10
