"""Stop strings that span segments."""

import pytest

from engine.runs.stopping import StopStrings


def shown(strings: list[str], segments: list[str]) -> tuple[list[str], str | None]:
    stop = StopStrings(strings)
    texts = []
    for index, segment in enumerate(segments):
        texts.append(stop.released(segment, index == len(segments) - 1))
        if stop.found:
            break
    return texts, stop.found


@pytest.mark.parametrize(
    ("strings", "segments", "texts", "found"),
    [
        ([], ["a", "b"], ["a", "b"], None),
        (["END"], ["xE", "ND y"], ["x", ""], "END"),
        (["END"], ["xE", "Ny"], ["x", "ENy"], None),
        (["END"], ["xE", "N"], ["x", "EN"], None),
        (["aab"], ["a", "a", "a", "b"], ["", "", "a", ""], "aab"),
        (["cd", "bcde"], ["ab", "cd"], ["a", "b"], "cd"),
        (["\n\n"], ["one\n", "two\n", "\nthree"], ["one", "\ntwo", ""], "\n\n"),
    ],
)
def test_text_is_shown_as_soon_as_it_cannot_be_part_of_a_stop_string(
    strings, segments, texts, found
):
    assert shown(strings, segments) == (texts, found)


def test_the_earliest_of_several_stop_strings_ends_the_text():
    assert shown(["late", "soon"], ["x soon and late"]) == (["x "], "soon")
