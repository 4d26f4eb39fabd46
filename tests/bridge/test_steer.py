"""`neuroscope-bridge steer` finds, writes and registers vectors on a running engine."""

import json
from pathlib import Path

import gguf
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient

PAIRS = [
    {"positive": "I love it", "negative": "I hate it"},
    {"positive": "a fine day", "negative": "an awful day"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{json.dumps(pair)}\n" for pair in PAIRS))
    return file


def steer(engine: LMStudioNeuroScopeClient, *words: str | Path) -> Result:
    arguments = ["steer", *map(str, words), "--url", engine.base_url]
    return CliRunner().invoke(main, arguments)


def test_a_vector_is_written_applied_listed_and_removed(
    engine: LMStudioNeuroScopeClient, pairs: Path, tmp_path: Path
):
    files = [tmp_path / "mood.gguf", tmp_path / "mood.safetensors"]
    for file in files:
        done = steer(engine, "compute", pairs, "--output", file, "--layers", "8-9")
        assert done.exit_code == 0, done.output
        assert "lengths by layer: 8: " in done.output
    reader = gguf.GGUFReader(files[0])
    assert [tensor.name for tensor in reader.tensors] == ["direction.8", "direction.9"]
    with safe_open(files[1], "numpy") as file:
        assert file.metadata()["method"] == "mean_difference"
        for tensor in reader.tensors:
            assert (file.get_tensor(tensor.name) == tensor.data).all()
    assert engine.list_steering_vectors() == {"vectors": []}
    applied = steer(engine, "apply", files[0], "--strength", "0.5", "--id", "mood")
    assert applied.output.startswith("mood steers ")
    try:
        (told,) = engine.create_completion("It is", max_tokens=1)["steering"]
        assert [each["layer"] for each in told["layers"]] == [8, 9]
        assert "8: 0.5, 9: 0.5" in steer(engine, "list").output
    finally:
        assert steer(engine, "remove", "mood").output == "mood\n"
    refused = steer(engine, "apply", files[1], "--ablate", "3")
    assert refused.exit_code == 1
    assert "no direction of layer 3" in refused.output
    assert "steering" not in engine.create_completion("It is", max_tokens=1)


@pytest.mark.parametrize(
    ("line", "words", "message"),
    [
        ("{", [], "line 1"),
        ('{"positive": "a"}', [], "positive and negative"),
        ("", [], "contains no pairs"),
        (json.dumps(PAIRS[0]), ["--layers", "9-8"], "not like 8, or 8-19"),
        (json.dumps(PAIRS[0]), ["--position", "end"], "nor mean"),
        (json.dumps(PAIRS[0]), ["--output", "mood.pt"], ".safetensors, .gguf"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_a_line(
    engine: LMStudioNeuroScopeClient, tmp_path: Path, line, words, message
):
    (tmp_path / "pairs.jsonl").write_text(line)
    output = ["--output", tmp_path / "mood.gguf"]
    done = steer(engine, "compute", tmp_path / "pairs.jsonl", *output, *words)
    assert done.exit_code != 0
    assert message in done.output
