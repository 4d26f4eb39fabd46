"""The doctor says what is there, and for what is not, what to do."""

import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge import __version__, doctor
from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient


def program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


def test_an_engine_at_its_address_is_named_with_its_version(engine: LMStudioNeuroScopeClient):
    found = doctor.of_address(engine.base_url)
    assert found == doctor.Finding(engine.base_url, f"an engine {__version__}, ok")


def test_a_free_address_and_one_that_is_taken_are_told_apart():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert "free" in doctor.of_address(url).found
        other.listen()

        def reply():
            while True:
                connection = other.accept()[0]
                if not connection.recv(65536):  # the doctor only tries whether somebody listens
                    continue
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
                connection.close()
                break

        thread = threading.Thread(target=reply)
        thread.start()
        taken = doctor.of_address(url)
        thread.join(10)
    assert taken.found == "taken by another program"
    assert "--port" in (taken.mend or "")


@pytest.mark.parametrize(("says", "is_old"), [("v18.20.1", True), ("v20.0.0", False), ("?", True)])
def test_a_node_that_is_too_old_is_to_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, is_old: bool
):
    node = program(tmp_path / "node", says)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.of_node()
    assert found.found == f"{says} at {node}"
    assert (found.mend is not None) == is_old


def test_a_system_is_found_by_its_variable_or_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GST", raising=False)
    missing = doctor.of_program("gst", ("gst",), "GST", "set GST")
    assert missing == doctor.Finding("gst", "not found", "set GST")
    on_path = program(tmp_path / "gst", "3")
    assert doctor.of_program("gst", ("gst",), "GST", "set GST").found == str(on_path)
    monkeypatch.setenv("GST", "/nowhere/gst")
    wrong = doctor.of_program("gst", ("gst",), "GST", "set GST")
    assert wrong.found == "GST names /nowhere/gst, which is no program"
    assert wrong.mend == "set GST"


def test_a_model_that_is_not_here_comes_with_the_command_that_pulls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.models.smollm2.models_folder", lambda: tmp_path)
    lines = CliRunner().invoke(main, ["doctor"]).output.splitlines()
    at = lines.index("default model: not here")
    assert lines[at + 1] == "    to do: neuroscope-bridge models pull smollm2"
