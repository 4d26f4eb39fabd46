"""The committed API document and the types made of it are those that the engine declares."""

import shutil
import subprocess
import sys
from pathlib import Path

from bridge.resources import OPENAPI, PACKAGE
from engine.contract.openapi import openapi_json


def test_the_committed_api_document_is_the_one_the_engine_declares():
    assert OPENAPI.read_text(encoding="utf-8") == openapi_json()


def test_the_committed_types_are_those_of_the_api_document(tmp_path: Path):
    fresh = tmp_path / "api_types.py"
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)  # the formatter's settings
    codegen = [sys.executable, "-m", "datamodel_code_generator", "--output", str(fresh)]
    subprocess.run(codegen, cwd=PACKAGE.parent, check=True, timeout=120)
    assert (PACKAGE / "api_types.py").read_text() == fresh.read_text()


def test_the_bridge_generates_bindings_without_importing_mlx(tmp_path: Path):
    script = (
        "import sys\n"
        "from bridge.cli import main\n"
        f"main(['generate', '--output', {str(tmp_path)!r}], standalone_mode=False)\n"
        "assert not any(name.split('.')[0] in ('mlx', 'engine') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
