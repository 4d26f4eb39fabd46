"""What the bridge lends to an image leaves the methods that a class has."""

from pathlib import Path

from systems import System

OWN = """!String methodsFor: 'own'!
repeat: anObject
	^'its own'! !
"""


def test_what_a_class_understands_stays(system: System, tmp_path: Path) -> None:
    own = tmp_path / "own.st"
    own.write_text(OWN)
    said = system.run("NeuroScopeImageSupplement initialize. 'ab' repeat: 3", own)
    assert said == "its own"
