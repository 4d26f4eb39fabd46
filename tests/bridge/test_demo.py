"""The demonstration writes documents that are true of the model, and described by themselves."""

import json
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient
from bridge.demo import run as demo_run
from bridge.demo.analysis import Check
from bridge.demo.run_folder import RunFolder

ANALYSES = (
    "activation_capture_demo",
    "circuit_analysis_attention_patterns",
    "circuit_analysis_creative_writing",
    "circuit_analysis_factual_recall",
    "circuit_analysis_mathematical_reasoning",
    "circuit_analysis_mlp_processing",
    "circuit_analysis_residual_stream",
)
TIMES = chr(215)
"""As in 2 times 3."""
CHECKS = ("engine_test", "integration_workflow", "rest_interface", "streaming")


@pytest.fixture(scope="module")
def folder(engine: LMStudioNeuroScopeClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("demo") / "runs"
    result = CliRunner().invoke(main, ["demo", "--url", engine.base_url, "--output", str(runs)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{runs / '001'}\n"
    return runs / "001"


def document(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def rows(analysis: dict, name: str) -> list[dict]:
    return next(each["rows"] for each in analysis["findings"] if each["name"] == name)


def test_every_document_is_as_its_schema_says(folder: Path):
    names = sorted(path.name.removesuffix(".schema.json") for path in folder.glob("*.schema.json"))
    assert names == sorted([*ANALYSES, *CHECKS])
    for name in names:
        validator = jsonschema_rs.validator_for(document(folder, f"{name}.schema"))
        whole = document(folder, name)
        validator.validate(whole)
        for field in whole:
            with pytest.raises(jsonschema_rs.ValidationError):
                validator.validate({key: value for key, value in whole.items() if key != field})


def test_every_check_passed_and_is_in_the_log(folder: Path):
    log = (folder / "log.txt").read_text(encoding="utf-8")
    for name in CHECKS:
        for check in document(folder, name)["checks"]:
            assert check["passed"], check
            assert f"{name}: {check['name']}: " in log


@pytest.mark.parametrize("name", ANALYSES)
def test_a_summary_is_that_of_the_tensor_beside_it(folder: Path, name: str):
    analysis = document(folder, name)
    tensors = load_file(folder / analysis["tensors_file"])
    entries = [each for records in analysis["activations"].values() for each in records]
    assert {each["tensor"] for each in entries} == set(tensors)
    for entry in entries:
        array = tensors[entry["tensor"]]
        assert (list(array.shape), array.dtype) == (entry["shape"], np.float32)
        assert entry["summary"]["count"] == array.size
        values = [entry["summary"][key] for key in ("mean", "norm", "minimum", "maximum")]
        double = array.astype(np.float64)
        expected = [double.mean(), (double**2).sum() ** 0.5, double.min(), double.max()]
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_the_format_of_a_document_names_the_shapes_and_counts_in_it(folder: Path):
    text = (folder / "activation_capture_demo_format.md").read_text(encoding="utf-8")
    analysis = document(folder, "activation_capture_demo")
    prompt = analysis["usage"]["prompt_tokens"]
    shapes = f"1 {TIMES} {prompt} {TIMES} 576 | 1 {TIMES} 1 {TIMES} 576"
    assert f"| `layer_15_mlp` | 4 | {shapes} | float32 |" in text
    assert f"{len(analysis['activations'])} hooks, 36 tensors" in text


def test_the_findings_are_those_of_the_model(folder: Path, engine: LMStudioNeuroScopeClient):
    analysis = document(folder, "circuit_analysis_attention_patterns")
    best = next(r for r in rows(analysis, "kinds of heads") if r["kind"] == "previous token")
    layer, head = map(int, best["head"][1:].split("H"))
    hook = {"layer_name": str(layer), "component": "attention_pattern", "heads": [head]}
    found = engine.forward(analysis["prompt"], [hook], activation_format="array")
    [record] = next(iter(found["activations"].values()))
    pattern = record["data"][0][0]
    score = sum(pattern[q][q - 1] for q in range(1, len(pattern))) / (len(pattern) - 1)
    assert best["score"] == pytest.approx(score, rel=1e-5)

    analysis = document(folder, "circuit_analysis_factual_recall")
    top = engine.forward(analysis["prompt"], top_k=1)["top"][0][0]
    last = rows(analysis, "logit lens")[-1]
    assert (last["token"], analysis["generated_text"][:6]) == (top["text"], " Paris")
    assert last["probability"] == pytest.approx(top["probability"], rel=1e-4)
    tokens = [row["token"] for row in rows(analysis, "logit lens")]
    settled = rows(analysis, "settled")[0]["from layer"]
    assert set(tokens[settled:]) == {top["text"]}
    assert tokens[settled - 1] != top["text"]


def test_no_run_takes_the_folder_of_another(tmp_path: Path):
    first, second = RunFolder.next_in(tmp_path), RunFolder.next_in(tmp_path)
    assert [first.path.name, second.path.name] == ["001", "002"]
    (tmp_path / "041").mkdir()
    (tmp_path / "notes").mkdir()
    assert RunFolder.next_in(tmp_path).path.name == "042"


def test_what_is_not_as_it_must_be_ends_the_demonstration_with_1(
    engine: LMStudioNeuroScopeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def wrong(client):
        """What cannot be."""
        yield Check(name="one", expected="1", found="2", passed=False)

    monkeypatch.setattr(demo_run, "CHECKS", {"wrong": wrong})
    monkeypatch.setattr(demo_run, "studies", lambda layers: [])
    arguments = ["demo", "--url", engine.base_url, "--output", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "wrong: one: 2, not 1" in result.output
    assert "wrong: one: 2 (FAILED, expected: 1)" in (tmp_path / "001" / "log.txt").read_text()


def test_an_engine_that_is_not_there_is_named(tmp_path: Path):
    result = CliRunner().invoke(
        main, ["demo", "--url", "http://127.0.0.1:9", "--output", str(tmp_path / "runs")]
    )
    assert result.exit_code == 1
    assert "no engine can be reached at http://127.0.0.1:9" in result.output
    assert not (tmp_path / "runs").exists()
