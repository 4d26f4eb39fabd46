"""Where a run keeps what it finds: a numbered folder of its own, never an earlier one."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bridge.demo.analysis import Document
from bridge.generator.templates import Templates

LOG = "log.txt"


class RunFolder:
    """The folder of one run: documents, each with a text on its format and a schema, and a log."""

    def __init__(self, path: Path):
        self.path = path
        self._templates = Templates()

    @classmethod
    def next_in(cls, runs: Path) -> "RunFolder":
        """Make the folder after the last in `runs`: 001, 002, …; no two runs get the same."""
        runs.mkdir(parents=True, exist_ok=True)
        taken = [int(each.name) for each in runs.iterdir() if each.name.isdecimal()]
        number = max(taken, default=0) + 1
        while True:
            path = runs / f"{number:03}"
            try:
                path.mkdir()
            except FileExistsError:  # another run was quicker
                number += 1
            else:
                return cls(path)

    def log(self, line: str) -> None:
        """Add a line to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def write(self, document: Document) -> None:
        """Write a document, its JSON schema, and what its format is, told from its own contents."""
        name = document.analysis
        schema = type(document).model_json_schema()
        self._write_json(f"{name}.json", document.model_dump(mode="json"))
        self._write_json(f"{name}.schema.json", schema)
        template = f"demo/{type(document).__name__.lower()}_format.md"
        text = self._templates.render(template, document=document)
        (self.path / f"{name}_format.md").write_text(text, encoding="utf-8")

    def write_tensors(self, name: str, tensors: Mapping[str, np.ndarray]) -> str:
        """Write tensors beside the documents; return the file's name."""
        file = f"{name}.safetensors"
        save_file(dict(tensors), self.path / file)
        return file

    def _write_json(self, name: str, data: object) -> None:
        text = json.dumps(data, indent=2, ensure_ascii=False)
        (self.path / name).write_text(f"{text}\n", encoding="utf-8")
