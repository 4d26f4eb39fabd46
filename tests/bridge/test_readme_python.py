"""Every example of the README does what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from bridge.transport import DEFAULT_URL

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.parametrize("code", examples("python"), ids=["client", "engine"])
def test_the_python_examples_run(code: str, engine: LMStudioNeuroScopeClient):
    here = code.replace(
        "LMStudioNeuroScopeClient()", f"LMStudioNeuroScopeClient({engine.base_url!r})"
    )
    run = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_the_address_that_the_examples_rely_on_is_the_default():
    assert DEFAULT_URL == "http://127.0.0.1:50111"
