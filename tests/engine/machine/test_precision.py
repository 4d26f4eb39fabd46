"""Float32 products are exact unless TF32 is asked for, and what is so can be read."""

import os
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from click.testing import CliRunner

import engine.server.process
from bridge.cli import main
from engine.machine import precision
from engine.machine.description import description

ROUNDS_IF_ALLOWED = mx.cuda.is_available()
"""Whether MLX rounds to TF32 on this device where it may."""
SAID = """
import engine
from engine.machine.precision import is_exact
print(is_exact())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {k: v for k, v in os.environ.items() if k != precision.VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=inherited | environment,
    )


def test_float32_products_are_within_float32_rounding_of_float64s():
    a, b = (np.random.default_rng(seed).normal(size=(256, 256)) for seed in (0, 1))
    a, b = a.astype(np.float32), b.astype(np.float32)
    product = np.array(mx.array(a) @ mx.array(b))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(product - expected).max() < 1e-5 * np.abs(expected).max()


def test_by_default_products_are_exact():
    assert run(SAID).stdout == "True\n"


def test_the_users_own_choice_counts():
    assert run(SAID, MLX_ENABLE_TF32="1").stdout == f"{not ROUNDS_IF_ALLOWED}\n"


def test_mlx_imported_first_is_exact_too_before_its_first_product():
    ran = run(f"import mlx.core\n{SAID}")
    assert ran.stdout == "True\n"
    assert "TF32" not in ran.stderr


def test_a_rounding_mlx_that_was_imported_first_is_warned_of():
    product = "import mlx.core as mx; mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))"
    ran = run(f"{product}\n{SAID}")
    assert ran.stdout == f"{not ROUNDS_IF_ALLOWED}\n"
    assert ("rounded to TF32" in ran.stderr) == ROUNDS_IF_ALLOWED


def test_the_warning_names_the_cause_and_the_cure(monkeypatch, caplog):
    monkeypatch.setenv(precision.VARIABLE, "0")
    monkeypatch.setattr(precision, "is_exact", lambda: False)
    precision.multiply_exactly()
    assert "mlx.core was imported before engine" in caplog.text
    assert "import engine first, or set MLX_ENABLE_TF32=0" in caplog.text


@pytest.mark.parametrize(("options", "value"), [([], None), (["--tf32"], "1")])
def test_serve_allows_tf32_where_it_is_asked_to(monkeypatch, options, value):
    seen = []

    def started(*arguments):
        seen.append(os.environ.get(precision.VARIABLE))
        raise OSError("far enough")

    monkeypatch.setattr(engine.server.process, "run", started)
    monkeypatch.setenv(precision.VARIABLE, "")
    monkeypatch.delenv(precision.VARIABLE)
    result = CliRunner().invoke(main, ["serve", *options])
    assert "far enough" in result.output
    assert seen == [value]


def test_doctor_names_the_device_the_precision_and_on_a_cpu_the_blas():
    printed = CliRunner().invoke(main, ["doctor"]).output.splitlines()
    rows = dict(line.strip().split(": ", 1) for line in printed)
    assert rows.items() >= description().items()
    assert rows["float32 products"] == "exact"
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    assert ("BLAS" in rows) == on_cpu
    assert ("the CPU" if on_cpu else "the GPU") in rows["MLX"]
