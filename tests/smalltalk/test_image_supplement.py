"""Each system understands what NeuroScope's examples send, and keeps what it understood before."""

from pathlib import Path

import pytest
from systems import System, answer

OWN = """!String methodsFor: 'own'!
repeat: anObject
	^'its own'! !
"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("#(3 1 4 1) max", 4),
        ("(OrderedCollection with: 3 with: 5) max", 5),
        ("#('a' 'ccc' 'bb') detectMax: [:each | each size]", "ccc"),
        ("#() detectMax: [:each | each]", None),
        ("({'a' -> 1. 'b' -> 2} asDictionary) at: 'b'", 2),
        ("({#a -> 1. #b -> 2} asDictionary) at: #a", 1),
        ("({'a' -> 1. 'b' -> 2} asDictionary) at: #a", 1),
        ("({1 -> 2. 'b' -> 3} asDictionary) at: 1", 2),
        ("(#('a' 'bcd') collect: #size) asArray", [1, 3]),
        ("'ab' repeat: 3", "ababab"),
        ("'ab' repeat: 0", ""),
        ("(#(3 1 2) asSortedCollection: [:a :b | a > b]) asArray", [3, 2, 1]),
        ("'a b c' copyReplaceAll: ' ' with: '_'", "a_b_c"),
        ("Array new: 2 withAll: 7", [7, 7]),
        ("{0 exp. -800.0 exp. (1 exp * 1.0e9) rounded}", [1, 0, 2718281828]),
        ("{1.5 isInfinite. 3 isInfinite. 1.5 isNaN}", [False, False, False]),
        ("Time millisecondClockValue between: 1 and: Time millisecondClockValue", True),
        ("Smalltalk garbageCollect;; 3", 3),
        ("(#(1 20) asString copyReplaceAll: '20' with: '') = #(1 20) asString", False),
        ("{nil asString. true asString. 12 asString}", ["nil", "true", "12"]),
    ],
)
def test_what_examples_send_is_understood(system: System, expression: str, value: object) -> None:
    assert answer(system, expression) == value


def test_elements_come_with_their_index(system: System) -> None:
    pairs = answer(
        system,
        "| seen | seen := OrderedCollection new;; "
        "#('a' 'b') withIndexDo: [:each :index | seen add: each; add: index];; seen asArray",
    )
    assert pairs == ["a", 1, "b", 2]


@pytest.mark.parametrize(
    ("signalled", "handler"),
    [
        ("ShapeMismatchError signal: 'x'", "first"),
        ("InvalidDataError signal: 'x'", "second"),
        ("self error: 'x'", "third"),
        ("'none'", "none"),
    ],
)
def test_the_first_class_that_an_error_is_of_handles_it(
    system: System, signalled: str, handler: str
) -> None:
    handlers = "on: ShapeMismatchError do: [:e | 'first'] on: InvalidDataError do: [:e | 'second']"
    assert answer(system, f"[{signalled}] {handlers} on: Error do: [:e | 'third']") == handler
    last = "on: ShapeMismatchError do: [:e | 'first'] on: Error do: [:e | 'third']"
    found = answer(system, f"[{signalled}] {last}")
    assert found == handler.replace("second", "third")


def test_an_error_of_none_of_the_classes_goes_on(system: System) -> None:
    handlers = "on: ShapeMismatchError do: [:e | 1] on: InvalidDataError do: [:e | 2]"
    expression = f"[[self error: 'other'] {handlers}] on: Error do: [:e | e messageText]"
    assert answer(system, expression) == "other"


def test_what_a_class_understands_stays(system: System, tmp_path: Path) -> None:
    own = tmp_path / "own.st"
    own.write_text(OWN)
    said = system.run("NeuroScopeImageSupplement initialize. 'ab' repeat: 3", own)
    assert said == "its own"
