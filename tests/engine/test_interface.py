"""What `engine` offers by name."""

import subprocess
import sys

import pytest

import engine


@pytest.mark.parametrize("name", engine.__all__)
def test_every_public_name_is_there(name):
    assert getattr(engine, name).__name__ == name


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'nothing'"):
        engine.nothing  # noqa: B018


def test_the_contract_needs_no_mlx():
    code = "import sys, engine.contract.openapi; print([m for m in sys.modules if 'mlx' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_example_in_the_documentation_runs(smollm2_path, capsys):
    code = "\n".join(line[4:] for line in engine.__doc__.splitlines() if line.startswith("    "))
    exec(code, {})
    assert capsys.readouterr().out.endswith("Paris (1, 5, 576)\n")
