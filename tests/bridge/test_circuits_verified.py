"""A circuit in a file is measured again, on any model of its shape, and its numbers are true."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import mlx.core as mx
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import quantize_model, save_model
from transformers import AutoModelForCausalLM

from benchmarks.words import words
from bridge.circuits import InvalidCircuitError, SavedCircuit, measured_circuit, verify
from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from bridge.errors import LMStudioError
from bridge.wire import from_record, to_value

SCHEMA = Path(__file__).parents[2] / "docs" / "circuit.schema.json"
IOI = {
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupted": "When Mary and John went to the store, Mary gave a drink to",
    "answers": [" Mary"],
    "distractors": [" John"],
}
NAME_MOVERS = [{"layer": 23, "head": 3}, {"layer": 29, "head": 1}]
WIDTH, HEADS = 16, 4
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": WIDTH * HEADS,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "head_dim": WIDTH,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": 64,
    "tie_word_embeddings": True,
}
CLEAN, CORRUPTED, ANSWER, DISTRACTOR = [5, 17, 30, 9], [5, 41, 30, 9], 7, 8
TOKENS = {"clean": CLEAN, "corrupted": CORRUPTED, "answers": [ANSWER], "distractors": [DISTRACTOR]}
HEAD, MLP = {"layer": 1, "head": 2}, {"layer": 0, "component": "mlp", "positions": [1]}


def saved(folder: Path, bits: int | None = None, **changes: Any) -> Path:
    """A tiny llama with random weights in a new folder."""
    folder.mkdir()
    config = CONFIG | changes
    mx.random.seed(3)
    model = Model(ModelArgs.from_dict(config))
    if bits:
        model, config = quantize_model(model, config, group_size=32, bits=bits)
    save_model(folder, model)
    (folder / "config.json").write_text(json.dumps(config))
    words(config["vocab_size"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model, of it in 4 bits, and of one with a third layer."""
    folder = tmp_path_factory.mktemp("models")
    saved(folder / "tiny")
    saved(folder / "tiny-4bit", bits=4)
    saved(folder / "deeper", num_hidden_layers=3)
    return folder


@pytest.fixture(scope="module")
def tiny(models: Path) -> Iterator[LMStudioNeuroScopeClient]:
    """An engine that has loaded all of them, and serves the first."""
    with running_engine(str(models / "tiny"), "--model-root", str(models)) as client:
        for name in ("tiny-4bit", "deeper"):
            client.load_model(str(models / name))
        yield client


@pytest.fixture(scope="module")
def file(tiny: LMStudioNeuroScopeClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A circuit of the first of them."""
    path = tmp_path_factory.mktemp("circuit") / "circuit.json"
    measured_circuit(tiny, "made up", [HEAD, MLP], [TOKENS], model="tiny").save(path)
    return path


def edited(file: Path, folder: Path, **changes: Any) -> Path:
    """The same circuit with other fields."""
    path = folder / "edited.json"
    path.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def run(file: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(file), *options])


def in_pytorch(folder: Path) -> tuple[float, float, list[float]]:
    """The scores of both prompts, and the effect of HEAD, of MLP, and of both at once, by hooks on
    transformers' own model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    head_input, mlp = model.model.layers[1].self_attn.o_proj, model.model.layers[0].mlp
    place = slice(2 * WIDTH, 3 * WIDTH)
    clean: dict[str, torch.Tensor] = {}

    def score(tokens: list[int], *hooks: Any) -> float:
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -1]
        for hook in hooks:
            hook.remove()
        return (logits[ANSWER] - logits[DISTRACTOR]).item()

    def patch_head(_: Any, inputs: Any) -> Any:
        changed = inputs[0].clone()
        changed[..., place] = clean["head"][..., place]
        return (changed,)

    def patch_mlp(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, 1] = clean["mlp"][:, 1]
        return changed

    def keep_head(_: Any, inputs: Any) -> None:
        clean["head"] = inputs[0]

    def keep_mlp(_: Any, __: Any, output: torch.Tensor) -> None:
        clean["mlp"] = output

    best = score(
        CLEAN,
        head_input.register_forward_pre_hook(keep_head),
        mlp.register_forward_hook(keep_mlp),
    )
    base = score(CORRUPTED)
    head = score(CORRUPTED, head_input.register_forward_pre_hook(patch_head))
    of_mlp = score(CORRUPTED, mlp.register_forward_hook(patch_mlp))
    both = score(
        CORRUPTED,
        head_input.register_forward_pre_hook(patch_head),
        mlp.register_forward_hook(patch_mlp),
    )
    return best, base, [(each - base) / (best - base) for each in (head, of_mlp, both)]


def test_the_numbers_of_a_tiny_models_circuit_are_those_of_pytorch(file: Path, models: Path):
    circuit = SavedCircuit.load(file)
    clean, corrupted, effects = in_pytorch(models / "tiny")
    scores = circuit.scores
    assert (scores.clean, scores.corrupted) == pytest.approx((clean, corrupted), rel=1e-4)
    measured = [*(each.score for each in circuit.components), scores.circuit]
    assert measured == pytest.approx(effects, rel=1e-3, abs=1e-5)
    shape = {name: getattr(circuit.model, name) for name in ("layers", "heads", "hidden_size")}
    assert shape == {"layers": 2, "heads": HEADS, "hidden_size": WIDTH * HEADS}


def test_the_numbers_of_a_circuit_are_those_of_passes_of_ones_own(engine: LMStudioNeuroScopeClient):
    circuit = measured_circuit(engine, "indirect object", NAME_MOVERS, [IOI])
    mary, john = (engine.tokenize(name)["tokens"][0] for name in (" Mary", " John"))
    hooks = [
        {"layer_name": str(part["layer"]), "component": "head_output", "heads": [part["head"]]}
        for part in NAME_MOVERS
    ]
    kept = engine.forward(IOI["clean"], hooks)["activations"].values()
    changes = [
        hook | {"operation": "replacement", "value": to_value(from_record(records[0], {}))}
        for hook, records in zip(hooks, kept, strict=True)
    ]

    def score(prompt: str, interventions: list[Any]) -> float:
        reply = engine.forward(prompt, interventions=interventions, logits="last")
        logits = from_record(reply["logits"], {}).ravel()
        return logits[mary] - logits[john]

    clean, base = score(IOI["clean"], []), score(IOI["corrupted"], [])
    expected = [
        (score(IOI["corrupted"], each) - base) / (clean - base)
        for each in (changes[:1], changes[1:], changes)
    ]
    measured = [*(each.score for each in circuit.components), circuit.scores.circuit]
    assert measured == pytest.approx(expected, rel=1e-3)
    assert (circuit.scores.clean, circuit.scores.corrupted) == pytest.approx((clean, base), 1e-4)
    check = verify(circuit, engine)
    assert check.is_passed
    assert [row.name for row in check.rows] == ["logit difference", "circuit", "L23H3", "L29H1"]


def test_a_file_is_as_its_schema_says_and_is_read_back(file: Path):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert json.loads(CliRunner().invoke(main, ["verify", "--schema"]).output) == schema
    jsonschema_rs.validator_for(schema).validate(json.loads(file.read_text()))
    circuit = SavedCircuit.load(file)
    circuit.save(file)
    assert SavedCircuit.load(file) == circuit


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"format_version": 2}, "format_version: Input should be 1"),
        ({"metric": None}, "metric: Input should be an object"),
        ({"components": []}, "components: List should have at least 1 item"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    file: Path, tmp_path: Path, changes: dict[str, Any], wrong: str
):
    result = run(edited(file, tmp_path, **changes), "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "edited.json: " in result.output
    assert wrong in result.output


def test_a_component_that_is_given_twice_is_refused(tiny: LMStudioNeuroScopeClient):
    with pytest.raises(InvalidCircuitError, match="L1H2 is given twice"):
        measured_circuit(tiny, "made up", [HEAD, HEAD], [TOKENS], model="tiny")
    with pytest.raises(LMStudioError, match="layers 0 to 1"):
        measured_circuit(tiny, "made up", [HEAD | {"layer": 7}], [TOKENS], model="tiny")


def test_a_model_and_its_quantisation_are_compared_on_one_circuit(
    file: Path, tiny: LMStudioNeuroScopeClient, tmp_path: Path
):
    both = ["--url", tiny.base_url, "--model", "tiny", "--against", "tiny-4bit"]
    quantised = verify(SavedCircuit.load(file), tiny, "tiny-4bit")
    lenient = {"component": 9, "circuit": 9, "difference": 9}
    result = run(edited(file, tmp_path, tolerances=lenient), *both)
    assert result.exit_code == 0, result.output
    *_, line = result.output.splitlines()
    assert line.split()[:4] == ["L0", "mlp", "at", "1"]
    assert line.split()[-3] == f"{quantised.rows[-1].now:.3f}"
    farthest = max(abs(row.now - row.saved) for row in quantised.rows[1:])
    strict = {"component": farthest / 2, "circuit": farthest / 2, "difference": 9}
    result = run(edited(file, tmp_path, tolerances=strict), *both)
    assert result.exit_code == 1
    assert "NO" in result.output
    assert verify(
        SavedCircuit.load(edited(file, tmp_path, tolerances=strict)), tiny, "tiny"
    ).is_passed


def test_a_number_is_outside_where_it_is_farther_than_its_tolerance(
    file: Path, tiny: LMStudioNeuroScopeClient, tmp_path: Path
):
    circuit = SavedCircuit.load(file)
    moved = circuit.components[0].model_copy(update={"score": circuit.components[0].score + 0.11})
    changed = circuit.model_copy(update={"components": [moved, circuit.components[1]]})
    rows = verify(changed, tiny, "tiny").rows
    assert [row.is_within for row in rows] == [True, True, False, True]
    scores = circuit.scores
    halved = scores.model_copy(update={"clean": (scores.clean + scores.corrupted) / 2})
    rows = verify(circuit.model_copy(update={"scores": halved}), tiny, "tiny").rows
    assert [row.is_within for row in rows] == [False, True, True, True]
    assert rows[0].now == pytest.approx(2 * rows[0].saved, rel=1e-4)


def test_a_model_of_another_shape_is_refused_with_each_difference(
    file: Path, tiny: LMStudioNeuroScopeClient
):
    result = run(file, "--url", tiny.base_url, "--model", "deeper")
    assert result.exit_code == 1
    assert (
        "deeper has another shape than tiny, in which the circuit was found: layers 3, not 2"
        in " ".join(result.output.split())
    )


def test_a_model_that_no_engine_serves_yet_is_served_for_the_time(file: Path, models: Path):
    result = run(file, "--model", str(models / "tiny"))
    assert result.exit_code == 0, result.output
    numbers = [line.split()[-3] for line in result.stdout.splitlines()[2:]]
    circuit = SavedCircuit.load(file)
    expected = [circuit.scores.circuit, *(each.score for each in circuit.components)]
    assert numbers[1:] == [f"{score:.3f}" for score in expected]
    assert np.isfinite(float(numbers[0]))
