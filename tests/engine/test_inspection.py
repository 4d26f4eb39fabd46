"""The hook points of a model, as a table."""

import pytest
from click.testing import CliRunner

from benchmarks.architectures import tiny_model
from bridge.cli import main
from engine.components import ComponentType as C
from engine.runs.kit import ModelKit
from engine.structure.inspection import HookPoints, hook_points
from engine.structure.resolver import resolve


@pytest.fixture(scope="module")
def rows() -> list[HookPoints]:
    """Of three layers with linear attention, and one with softmax attention, all with experts."""
    changes = {"num_hidden_layers": 4, "full_attention_interval": 4}
    return list(hook_points(resolve(tiny_model("qwen3_next", **changes))))


def test_alike_layers_share_a_row(rows):
    assert [row for row in rows if row.component is C.RESIDUAL] == [
        HookPoints(C.RESIDUAL, "0-3", "[batch, seq, 32]")
    ]


def test_layers_without_a_component_are_told_with_the_reason(rows):
    assert [row for row in rows if row.component is C.ATTENTION_PATTERN] == [
        HookPoints(
            C.ATTENTION_PATTERN,
            "0-2",
            reason="Qwen3NextGatedDeltaNet has no softmax attention",
        ),
        HookPoints(C.ATTENTION_PATTERN, "3", "[batch, 4, seq, seq]"),
    ]


def test_layers_that_lack_what_others_have_are_listed_by_component():
    lacking = resolve(tiny_model("jamba")).absent_layers
    assert lacking[C.ATTENTION_PATTERN] == lacking[C.ROUTER] == [0]
    assert not {C.RESIDUAL, C.QUERY_PRE_ROPE} & lacking.keys()  # in all layers, in none
    assert resolve(tiny_model("llama")).absent_layers == {}


def test_key_value_heads_and_experts_are_counted(rows):
    shapes = {row.component: row.shape for row in rows if row.shape}
    assert shapes[C.KEY] == "[batch, 2, seq, 8]"
    assert shapes[C.ROUTER] == "[batch, seq, 4]"
    assert shapes[C.EXPERT_OUTPUT] == "[batch, seq, 2, 32]"


def test_every_component_has_a_row(rows):
    assert {row.component for row in rows} == set(C)


@pytest.mark.parametrize(
    ("architecture", "config", "sizes"),
    [
        ("llama", {"max_position_embeddings": 512, "intermediate_size": 48}, (512, 48)),
        ("gpt2", {"n_positions": 512, "n_inner": None}, (512, None)),
        ("mixtral", {"text_config": {"max_position_embeddings": 64}}, (64, None)),
        ("mixtral", {"intermediate_size": 48}, (None, None)),
        ("mamba", {}, (None, None)),
    ],
)
def test_sizes_are_those_of_the_configuration_and_of_no_experts(architecture, config, sizes):
    model = tiny_model(architecture)
    info = ModelKit(model, None, config, architecture, None, resolve(model)).info
    assert (info.max_position_embeddings, info.intermediate_size) == sizes


def test_the_command_prints_the_table(smollm2_path):
    result = CliRunner().invoke(main, ["models", "inspect", str(smollm2_path)])
    assert result.exit_code == 0
    assert "llama, 30 layers" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["key", "0-29", "[batch,", "3,", "seq,", "64]"] in lines


def test_the_command_says_what_is_no_model(tmp_path):
    result = CliRunner().invoke(main, ["models", "inspect", str(tmp_path)])
    assert result.exit_code == 1
    assert "config.json is missing" in result.output
