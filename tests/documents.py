"""The examples that the documents show, each with what stands below it."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))


def examples(language: str) -> list:
    """Each block of a language and the text block below it, as parameters of a test."""
    block = re.compile(rf"```{language}\n(.*?)```(?:[^`]*?```text\n(.*?)```)?", re.S)
    return [
        pytest.param(code, below, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, (code, below) in enumerate(block.findall(page.read_text(encoding="utf-8")))
    ]
