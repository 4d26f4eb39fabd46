"""What inspectors and explorers of an image are told, and what a window of Squeak shows."""

import json
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import OldSqueak, System

EXPLORER = """Object subclass: #ObjectExplorerWrapper
	instanceVariableNames: 'item name'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'tests'!

!ObjectExplorerWrapper class methodsFor: 'tests'!
with: anObject name: aString model: aModel
	^self new setItem: anObject name: aString! !

!ObjectExplorerWrapper methodsFor: 'tests'!
setItem: anObject name: aString
	item := anObject.
	name := aString!
item
	^item!
name
	^name! !
"""
INSPECTOR = """Object subclass: #NeuroScopeTestInspector
	instanceVariableNames: 'label variables'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'tests'!

!NeuroScopeTestInspector methodsFor: 'tests'!
setLabel: aString
	label := aString!
setVariables: anArray
	variables := anArray!
shownOf: anObject
	anObject inspectOn: self.
	^variables! !
"""
SUBJECTS = """{ActivationTensor data: #(1 2 3 -4) shape: #(2 2).
	Circuit name: 'two' components: {NeuroScopeCircuitComponent head: 1 layer: 5 score: 0.2}
		confidence: 0.5 evidence: 'made up'}"""
FIELDS = {
    "amber": "(NeuroScopeTestInspector new shownOf: each) collect: "
    "[:field | {field key. field value printString}]",
    "squeak": "each explorerContents collect: [:field | {field name. field item printString}]",
}
WINDOW = """| browser window morphs picture |
browser := NeuroScopeModelBrowser
	on: (TransformerModel remote: (LMStudioRESTClient baseUrl: '{}'))
	text: 'The cat sat'.
window := NeuroScopeBrowserWindow on: browser.
window open.
window clickLine: 6.
window clickLine: 7.
window ablate.
window clickHook: 1.
window toggleHook.
picture := NeuroScopePictureMorph formOf: browser picture asRaster.
NeuroScopePlatform current writeJson: {{
	window lines at: window selectedIndex.
	window hookLines.
	window source asString.
	(picture colorAt: 9 @ 9) = (Color r: 150 g: 150 b: 150 range: 255)}}"""


def test_inspectors_show_numbers_and_a_picture(system: System, tmp_path: Path) -> None:
    file = tmp_path / "inspector.st"
    file.write_text(INSPECTOR if system.name == "amber" else EXPLORER)
    shown = f"{SUBJECTS} collect: [:each | {FIELDS[system.name]}]"
    said = system.run(f"NeuroScopePlatform current writeJson: ({shown})", file)
    tensor, circuit = (dict(fields) for fields in json.loads(said))
    assert tensor["norm"].startswith("5.477")
    assert tensor["picture"].startswith("NeuroScopeHeatmap of ")
    assert circuit["L5H1"].startswith("L5H1 0.2")
    assert circuit["picture"].startswith("NeuroScopePicture of ")


def test_a_window_shows_a_part_and_switches_a_hook(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    if not isinstance(system, OldSqueak):
        pytest.skip("a window of Morphic")
    line, hooks, source, is_painted = json.loads(system.run(WINDOW.format(engine.base_url)))
    assert line.strip() == "residual"
    assert hooks == ["[ ] ablate L4 residual"]
    assert source == "NeuroScopeHookEffect of: model on: 'The cat sat'"
    assert is_painted
