"""What mlx-lm passes over in a model folder is put right when the model is loaded."""

import logging

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model
from reference_models import reference_model, save

from engine.components import ComponentType
from engine.models.corrections import correct_config, load_corrected, yarn_wavelengths
from engine.runs.kit import load_model as load_engine_model
from engine.structure.resolver import resolve

TOKENS = mx.array([[3, 31, 4, 15, 9, 26, 5, 35, 8, 93, 23, 84]])
YARN = {"rope_type": "yarn", "rope_theta": 5e5, "factor": 8.0, "truncate": False}


def test_rope_parameters_are_said_in_the_older_words_too():
    config = correct_config({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})
    assert config["rope_theta"] == 5e5
    assert "rope_scaling" not in config


def test_a_scaled_rotation_keeps_all_that_it_says():
    config = correct_config({"rope_parameters": YARN})
    assert config["rope_theta"] == 5e5
    assert config["rope_scaling"] == YARN | {"type": "yarn"}


def test_rotation_by_layer_type_is_told_apart():
    full = {"rope_type": "default", "rope_theta": 1e6}
    sliding = {"rope_type": "default", "rope_theta": 2e4}
    rope = {"full_attention": full, "sliding_attention": sliding}
    config = correct_config({"rope_parameters": rope})
    assert (config["rope_theta"], config["rope_local_base_freq"]) == (1e6, 2e4)


def test_what_a_folder_says_in_the_older_words_stays():
    rope = {"rope_type": "default", "rope_theta": 5e5}
    config = correct_config({"rope_theta": 1e4, "rope_parameters": rope, "num_experts": 8})
    assert (config["rope_theta"], config["num_experts"]) == (1e4, 8)


def test_the_text_model_inside_another_is_corrected_too():
    rope = {"rope_type": "default", "rope_theta": 5e5}
    config = correct_config({"text_config": {"rope_parameters": rope, "num_local_experts": 4}})
    assert (config["text_config"]["rope_theta"], config["text_config"]["num_experts"]) == (5e5, 4)


def test_nothing_is_done_to_the_configuration_that_was_given():
    given = {"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}}
    correct_config(given)
    assert given == {
        "text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    }


def test_wavelengths_are_stretched_where_less_than_one_turn_fits_and_kept_where_many_do():
    scaling = {"factor": 8.0, "original_max_position_embeddings": 64}
    wavelengths = np.array(yarn_wavelengths(64, 10000.0, scaling | {"beta_fast": 4}))
    plain = 10000.0 ** (np.arange(0, 64, 2) / 64)
    turns = 64 / (2 * np.pi * plain)
    np.testing.assert_allclose(wavelengths[turns >= 4], plain[turns >= 4], rtol=1e-5)
    np.testing.assert_allclose(wavelengths[turns <= 1], 8 * plain[turns <= 1], rtol=1e-5)
    between = (turns < 4) & (turns > 1)
    assert (plain[between] < wavelengths[between]).all()
    assert (wavelengths[between] < 8 * plain[between]).all()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gpt_oss, not truncated", "does not truncate"),
        ("mistral, sliding window", "slides over 6 tokens"),
        ("gemma2", "slides over 6 tokens"),
        ("phi3, sliding window", "slides over 6 tokens"),
        ("mixtral, sliding window", "slides over 6 tokens"),
        ("starcoder2, sliding window", "slides over 6 tokens"),
    ],
)
def test_a_correction_that_changes_the_numbers_is_logged(name, says, tmp_path, caplog):
    folder = save(reference_model(name), tmp_path)
    with caplog.at_level(logging.WARNING):
        model, _, applied = load_corrected(folder)
    assert says in caplog.text
    assert any(says in each.reason for each in applied)
    if name != "gpt_oss, not truncated":  # whose experts mlx-lm loads only when quantised
        uncorrected, _ = load_model(folder)
        assert mx.abs(model(TOKENS) - uncorrected(TOKENS)).max() > 1e-3


def test_a_model_that_is_not_corrected_is_bit_identical_to_mlx_lm_s(tmp_path):
    folder = save(reference_model("mistral, sliding window"), tmp_path)
    kit, corrected = load_engine_model(folder, corrections=False), load_engine_model(folder)
    theirs, _ = load_model(folder)
    np.testing.assert_array_equal(np.array(kit.model(TOKENS)), np.array(theirs(TOKENS)))
    assert kit.corrections == ()
    assert [each.name for each in corrected.corrections][-1] == "sliding_window"


def test_what_the_configuration_says_otherwise_is_listed_by_name(tmp_path):
    _, _, applied = load_corrected(save(reference_model("llama"), tmp_path))
    said = {each.reason.split(" is ")[0] for each in applied if each.name == "configuration"}
    assert "rope_theta" in said


def test_weights_under_other_names_are_listed(tmp_path):
    _, _, applied = load_corrected(save(reference_model("gpt2"), tmp_path))
    assert "weight_names" in [each.name for each in applied]


def test_a_block_that_slides_has_the_hook_points_of_one_that_does_not(tmp_path):
    model, *_ = load_corrected(save(reference_model("gemma2"), tmp_path))
    sliding, full = (
        {point.component for point in resolve(model).shapes if point.layer == layer}
        for layer in (0, 1)
    )
    assert sliding == full
    assert ComponentType.RESIDUAL_MID in sliding


def test_up_to_its_window_a_corrected_model_is_bit_identical_to_mlx_lm_s(tmp_path):
    folder = save(reference_model("mistral, sliding window"), tmp_path)
    model, uncorrected = load_corrected(folder)[0], load_model(folder)[0]
    uncorrected.update_modules(rope_of(model))
    np.testing.assert_array_equal(
        np.array(model(TOKENS[:, :6])), np.array(uncorrected(TOKENS[:, :6]))
    )


def rope_of(model) -> dict:
    """The rotations of a model, which are corrected too."""
    return {"model": {"layers": [{"self_attn": {"rope": b.self_attn.rope}} for b in model.layers]}}
