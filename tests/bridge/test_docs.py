"""The documents are true: examples print what stands below them, and tables are whole."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from documents import PAGES, examples

from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient
from bridge.resources import OPENAPI
from engine.components import ComponentType
from engine.server import errors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("code", "below"), examples("python"))
def test_a_python_example_prints_what_stands_below_it(
    code: str, below: str, engine: LMStudioNeuroScopeClient, features_folder: Path
):
    here = code.replace(
        "LMStudioNeuroScopeClient()", f"LMStudioNeuroScopeClient({engine.base_url!r})"
    ).replace("sets/sae", str(features_folder / "sae"))
    run = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout == below


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path):
    text = page.read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    commands = [part for line in lines for part in line.split("neuroscope-bridge ")[1:]]
    for command in commands:
        known(shlex.split(command, comments=True))


def known(words: list[str]) -> None:
    """Fails unless a command has all the options among the words."""
    found: click.Command | None = main
    while isinstance(found, click.Group) and words:
        found = found.get_command(click.Context(found), words.pop(0))
    assert found, words
    options = {name for each in found.params for name in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_api_page_has_every_operation():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    declared = {
        f"{verb.upper()} {path}"
        for path, verbs in paths.items()
        for verb in verbs
        if verb in ("get", "post", "delete")
    }
    assert set(re.findall(r"^\| `(\w+ /.*?)` \|", text, re.M)) == declared


def test_the_errors_page_has_every_type_with_its_status():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = {kind: int(status) for status, kind in re.findall(r"^\| (\d+) \| `(\w+)`", text, re.M)}
    refusals = [each for each in vars(errors).values() if isinstance(each, type)]
    raised = {e.kind: e.status for e in refusals if issubclass(e, errors.RequestError)}
    raised |= {kind: status for status, kind in errors.ENGINE_ERRORS.values()}
    assert rows == raised | {"internal_error": 500}


def test_the_figure_shows_every_component():
    figure = (ROOT / "docs" / "block.svg").read_text(encoding="utf-8")
    shown = {
        name for text in re.findall(r'class="c".*?>(.*?)<', figure) for name in text.split(", ")
    }
    assert shown == set(ComponentType)


def test_the_site_builds_and_no_link_is_dead(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "concepts" / "index.html").is_file()
