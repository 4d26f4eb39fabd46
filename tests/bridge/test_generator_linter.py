"""The linter finds what it says it finds, and the grammar behind it is Smalltalk's."""

import pytest

from bridge.generator.dialects import DIALECTS
from bridge.generator.linter import LintError, lint
from bridge.generator.model import Package
from bridge.generator.sources import read_classes
from bridge.generator.syntax import Parser, SmalltalkSyntaxError

HEAD = """Object subclass: #Thing
	instanceVariableNames: 'part'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'Things'!
!Thing commentStamp: '' prior: 0!
I am a thing.

Instance variables:
	part	<Object> a part

Example:
	Thing new!

!Thing methodsFor: 'things'!
"""


def lint_method(source: str) -> None:
    classes = read_classes(f"{HEAD}{source}! !\n", "test")
    lint((Package("Things", classes),), DIALECTS["squeak"])


def test_a_good_method_passes() -> None:
    lint_method(
        'at: key put: value\n\t"Store a value."\n\t| old |\n\told := part at: key.\n'
        "\tpart at: key put: value.\n\t^old -> {#(#a 'b' $c 1.5e-3 16rFF). [:x | x ~= nil]}"
    )


@pytest.mark.parametrize(
    "source", ["part\n\t^part", "part: x\n\tpart := x", 'part\n\t"Answer the part."\n\t^part']
)
def test_an_accessor_needs_no_comment(source: str) -> None:
    lint_method(source)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("go\n\t^part foo", "no comment of a sentence"),
        ("go: x\n\tpart := x.\n\tpart foo", "no comment of a sentence"),
        ('go\n\t"no sentence"\n\t^1', "no comment of a sentence"),
        ('go\n\t"Go."\n' + "\tpart foo.\n" * 30, "longer than 30 lines"),
        ('go\n\t"Go."\n\t^Unknown new', "undeclared: Unknown"),
        ('go\n\t"Go."\n\t^other', "undeclared: other"),
        ('go\n\t"Go."\n\t| x |\n\tx := 1.\n\t^2', "never used: x"),
        ('go\n\t"Go."\n\t| x |\n\t^x', "never assigned: x"),
        ('go: part\n\t"Go."\n\t^part', "declared twice: part"),
        ('go: x\n\t"Go."\n\t^part do: [:x | x]', "declared twice: x"),
        ('go\n\t"Go."\n\t^#(foo bar)', "without # in a literal array: bar, foo"),
        ('go\n\t"Go."\n\t^1e3', "an exponent without a point: 1e3"),
        ('go\n\t"Go."\n\t| a_b |\n\ta_b := 1.\n\t^a_b', "with an underscore: a_b"),
        ("go\n\t\"Go.\"\n\t^'é'", "not ASCII"),
        ('go\n\t"Go."\n\t^(part foo', "syntax"),
    ],
)
def test_a_broken_rule_is_named(source: str, problem: str) -> None:
    with pytest.raises(LintError, match=problem):
        lint_method(source)


def test_a_class_comment_needs_an_example_and_its_variables() -> None:
    text = HEAD.replace("Example:", "For instance:").replace("\tpart\t<Object> a part\n", "")
    classes = read_classes(text + 'go\n\t"Go."\n\t^1! !\n', "test")
    with pytest.raises(LintError) as raised:
        lint((Package("Things", classes),), DIALECTS["squeak"])
    assert "has no example" in str(raised.value)
    assert "does not explain part" in str(raised.value)


@pytest.mark.parametrize(
    "source", ["go ^", "go ^1 foo: ", "go ^[1", "go ^#(1", "go ^1) ", "go ^{1. 2", "go ^'abc"]
)
def test_what_is_no_method_is_a_syntax_error(source: str) -> None:
    with pytest.raises(SmalltalkSyntaxError):
        Parser(source)
