"""Every Python script in `examples/` prints what the comment at its end says."""

import re
import sys
from pathlib import Path
from runpy import run_path

import pytest

from bridge.client import LMStudioNeuroScopeClient

FOLDER = Path(__file__).parents[2] / "examples"
LONG = {FOLDER / "demo.py", FOLDER / "edges.py"}  # which run for minutes
SCRIPTS = sorted(set(FOLDER.glob("*.py")) - LONG)
NUMBER = re.compile(r"-?\d+\.\d+")


def said_in(script: Path) -> str:
    """What the comment at the end of a script says that it prints."""
    below = script.read_text(encoding="utf-8").split("\n# prints\n")[1]
    return "".join(line.removeprefix("#   ") for line in below.splitlines(keepends=True))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_prints_what_its_comment_says(
    script: Path,
    engine: LMStudioNeuroScopeClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", [str(script), engine.base_url])
    run_path(str(script), run_name="__main__")
    printed, said = capsys.readouterr().out, said_in(script)
    assert NUMBER.split(printed) == NUMBER.split(said)
    numbers = [list(map(float, NUMBER.findall(text))) for text in (printed, said)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=0.011)
