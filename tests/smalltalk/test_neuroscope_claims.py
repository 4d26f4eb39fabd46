"""Where an image has a class of NeuroScope's name, that class stays and ours steps aside."""

import json
import re
from pathlib import Path

from systems import GENERATED, System

THEIRS = """Object subclass: #CircuitFinder
	instanceVariableNames: '{variables}'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'Somebody-Else'!

!CircuitFinder methodsFor: 'finding'!
findCircuits: activations
	^'found by them'! !
"""
BOTH = """NeuroScopePlatform current writeJson: {
	CircuitFinder new findCircuits: #().
	CircuitFinder category asString.
	(NeuroScopePlatform current globalNamed: #NeuroScopeOwnCircuitFinder) category asString.
	(NeuroScopePlatform current globalNamed: #NeuroScopeOwnCircuitFinder) new
		respondsTo: #findCircuitFor:examples:.
	(NeuroScopePlatform current globalNamed: #NeuroScopeOwnCircuit) isNil.
	Circuit category asString}"""


def variables_of_ours(package: Path) -> str:
    """Those of our class, which the system already has when theirs takes its place."""
    definition = re.search(
        r"#CircuitFinder\b[^!]*?instanceVariableNames: '(.*)'", package.read_text()
    )
    return definition[1]


def test_a_class_of_somebody_else_stays_as_it_is(system: System, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.st"
    ours = GENERATED / system.name / "NeuroScope-Core.st"
    theirs.write_text(THEIRS.format(variables=variables_of_ours(ours)))
    said = system.run(BOTH, theirs, ours).splitlines()[-1]
    assert json.loads(said) == [
        "found by them",
        "Somebody-Else",
        "NeuroScope-Core",
        True,
        True,
        "NeuroScope-Core",
    ]
