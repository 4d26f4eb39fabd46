"""Interventions do what editing the weights would do, and never nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.tokenizer_utils import NaiveStreamingDetokenizer

from benchmarks.architectures import tiny_model
from engine.captures.hooks import ActivationHookSpec
from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import InterventionError, InvalidRequestError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve

TOKENS = [3, 31, 4, 15, 9, 26, 5]
OTHERS = [8, 1, 60, 15, 22, 7, 43]
LAYERS, HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 2, 4, 2, 8, 32
HALF = mx.array(0.5)
VECTOR = np.linspace(-2, 2, HIDDEN, dtype=np.float32)
NUMBERS = [c for c in C if c not in (C.ROUTER, C.ROUTER_CHOICE, C.EXPERT_OUTPUT)]


class Letters:
    """A tokenizer that gives every token a letter and knows no end."""

    eos_token_ids = frozenset()

    def convert_ids_to_tokens(self, token: int) -> str:
        return str(token)

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(ord("a") + token % 26) for token in tokens)

    def encode(self, text: str, **options: bool) -> list[int]:
        return [0]

    @property
    def detokenizer(self) -> NaiveStreamingDetokenizer:
        return NaiveStreamingDetokenizer(self)


def kit_of(architecture: str, **changes) -> ModelKit:
    model = tiny_model(architecture, **changes)
    return ModelKit(model, Letters(), {}, architecture, None, resolve(model))


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    return kit_of("llama", layer_types=["full_attention"] * LAYERS)


@pytest.fixture(scope="module")
def experts() -> ModelKit:
    return kit_of("qwen3_moe")


def change(component: str, operation: str, layer: int | str = 0, **parameters) -> Intervention:
    name = component if component in WHOLE_MODEL else str(layer)
    return Intervention(name, component, operation, **parameters)


def logits(kit: ModelKit, *interventions: Intervention, tokens=TOKENS) -> np.ndarray:
    return forward(kit, [tokens], interventions=interventions, logits="all").logits


def captured(
    kit: ModelKit,
    component: str,
    *interventions: Intervention,
    layer: int = 0,
    tokens=TOKENS,
    is_input: bool = False,
) -> np.ndarray:
    name = component if component in WHOLE_MODEL else str(layer)
    hook = ActivationHookSpec(
        name, component, "hook", capture_input=is_input, capture_output=not is_input
    )
    return forward(kit, [tokens], [hook], interventions, logits="none").activations["hook"][0].data


@contextmanager
def edited(module: nn.Module, **parameters: mx.array) -> Iterator[None]:
    """The model with other parameters in one of its modules."""
    before = {name: module.get(name) for name in parameters}
    for name, value in parameters.items():
        module[name] = value
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del module[name]
            else:
                module[name] = value


def columns_scaled(module: nn.Module, first: int, last: int, factor: float) -> mx.array:
    columns = mx.arange(module.weight.shape[1])
    chosen = (columns >= first) & (columns < last)
    return mx.where(chosen, module.weight * factor, module.weight)


# --- what they do is what an edit of the weights does ---------------------------------------


@pytest.mark.parametrize("head", range(HEADS))
def test_ablating_a_head_is_zeroing_its_columns_of_the_output_projection(kit, head):
    projection = kit.model.layers[1].self_attn.o_proj
    zeroed = columns_scaled(projection, head * HEAD_DIM, (head + 1) * HEAD_DIM, 0)
    with edited(projection, weight=zeroed):
        expected = logits(kit)
    ablated = logits(kit, change("head_output", "ablation", 1, heads=(head,)))
    np.testing.assert_array_equal(ablated, expected)


WEIGHT_EDITS = {
    "attention": lambda model: model.layers[0].self_attn.o_proj,
    "mlp": lambda model: model.layers[0].mlp.down_proj,
    "layernorm": lambda model: model.layers[0].input_layernorm,
    "query": lambda model: model.layers[0].self_attn.q_proj,
    "query_pre_rope": lambda model: model.layers[0].self_attn.q_proj,
    "key": lambda model: model.layers[0].self_attn.k_proj,
    "key_pre_rope": lambda model: model.layers[0].self_attn.k_proj,
    "value": lambda model: model.layers[0].self_attn.v_proj,
    "head_output": lambda model: model.layers[0].self_attn.v_proj,
    "attention_scores": lambda model: model.layers[0].self_attn.q_proj,
    "attention_pattern": lambda model: model.layers[0].self_attn.v_proj,
    "embedding": lambda model: model.model.embed_tokens,
    "final_norm": lambda model: model.lm_head,
    "logits": lambda model: model.lm_head,
}
"""For a component, the module whose weights it is proportional to, or acts as if it were."""


@pytest.mark.parametrize("component", WEIGHT_EDITS)
def test_scaling_is_scaling_the_weights_before_or_after(kit, component):
    module = WEIGHT_EDITS[component](kit.model)
    with edited(module, weight=module.weight * HALF):
        expected = logits(kit)
    halved = logits(kit, change(component, "scaling", factor=0.5))
    np.testing.assert_allclose(halved, expected, rtol=0, atol=2e-6)
    assert np.abs(expected - logits(kit)).max() > 1e-3


@pytest.mark.parametrize("component", ["attention", "mlp", "layernorm", "value", "head_output"])
def test_ablation_is_zeroing_the_weights_exactly(kit, component):
    module = WEIGHT_EDITS[component](kit.model)
    with edited(module, weight=mx.zeros_like(module.weight)):
        expected = logits(kit)
    np.testing.assert_array_equal(logits(kit, change(component, "ablation")), expected)


@pytest.mark.parametrize("component", ["attention", "mlp"])
def test_steering_is_a_bias(kit, component):
    module = WEIGHT_EDITS[component](kit.model)
    with edited(module, bias=mx.array(VECTOR)):
        expected = logits(kit)
    steered = logits(kit, change(component, "addition", value=VECTOR))
    np.testing.assert_allclose(steered, expected, rtol=0, atol=1e-6)


def test_a_token_whose_embedding_is_replaced_is_another_token(kit):
    row = np.array(kit.model.model.embed_tokens.weight[OTHERS[2]])
    replaced = logits(kit, change("embedding", "replacement", value=row, positions=(2,)))
    expected = logits(kit, tokens=[*TOKENS[:2], OTHERS[2], *TOKENS[3:]])
    np.testing.assert_array_equal(replaced, expected)


def test_keys_of_zero_make_attention_uniform(kit):
    pattern = captured(kit, "attention_pattern", change("key", "ablation"))
    rows = np.tril(np.ones((7, 7))) / np.arange(1, 8)[:, None]
    np.testing.assert_allclose(pattern, np.broadcast_to(rows, pattern.shape), atol=1e-7)


def test_an_edited_pattern_weighs_the_values(kit):
    newest = np.eye(7, dtype=np.float32)
    edit = change("attention_pattern", "replacement", value=newest)
    value = captured(kit, "value")
    output = captured(kit, "head_output", edit)
    np.testing.assert_allclose(output, np.repeat(value, HEADS // KV_HEADS, axis=1), atol=1e-6)


# --- patching from another run --------------------------------------------------------------


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("component", ["embedding", "residual", "residual_mid", "final_norm"])
def test_patching_the_whole_stream_is_the_other_run_bit_for_bit(kit, component, layer):
    value = captured(kit, component, layer=layer, tokens=OTHERS)
    patched = logits(kit, change(component, "patching", layer, value=value))
    np.testing.assert_array_equal(patched, logits(kit, tokens=OTHERS))


@pytest.mark.parametrize("component", NUMBERS)
def test_patching_a_value_by_itself_changes_nothing(kit, component):
    value = captured(kit, component)
    patched = logits(kit, change(component, "patching", value=value))
    np.testing.assert_allclose(patched, logits(kit), rtol=0, atol=1e-6)


@pytest.mark.parametrize("component", sorted(PER_HEAD))
def test_only_the_chosen_heads_and_positions_change(kit, component):
    heads, positions = (1, 0), (5, -5)
    edit = change(component, "scaling", factor=3.0, heads=heads, positions=positions)
    before, after = captured(kit, component), captured(kit, component, edit)
    chosen = np.zeros(before.shape, bool)
    chosen[np.ix_((0,), heads, (5, 2))] = True
    np.testing.assert_array_equal(after[~chosen], before[~chosen])
    np.testing.assert_array_equal(after[chosen], 3 * before[chosen])


def test_values_are_given_in_the_order_of_the_heads_and_positions(kit):
    heads, positions = (3, 1), (6, 0, 2)
    value = np.arange(2 * 3 * HEAD_DIM, dtype=np.float32).reshape(1, 2, 3, HEAD_DIM)
    edit = change("head_output", "replacement", heads=heads, positions=positions, value=value)
    after = captured(kit, "head_output", edit)
    np.testing.assert_array_equal(after[np.ix_((0,), heads, positions)], value)


def test_each_sequence_of_a_batch_may_have_its_own_value(kit):
    value = np.stack([captured(kit, "mlp", tokens=tokens)[0] for tokens in (OTHERS, TOKENS)])
    edit = change("mlp", "patching", value=value)
    patched = forward(kit, [TOKENS, OTHERS], interventions=[edit], logits="all").logits
    for row, tokens, other in zip(patched, (TOKENS, OTHERS), value[:, None], strict=True):
        alone = logits(kit, change("mlp", "patching", value=other), tokens=tokens)[0]
        np.testing.assert_allclose(row, alone, atol=1e-5)


# --- mean, noise, functions -----------------------------------------------------------------


def test_the_mean_is_over_all_positions_for_each_feature(kit):
    before = captured(kit, "mlp")
    after = captured(kit, "mlp", change("mlp", "mean", positions=(1, 4)))
    np.testing.assert_allclose(after[:, [1, 4]], before.mean(1, keepdims=True).repeat(2, 1), 1e-6)
    np.testing.assert_array_equal(after[:, [0, 2, 3, 5, 6]], before[:, [0, 2, 3, 5, 6]])


@pytest.mark.parametrize("component", ["attention_scores", "attention_pattern"])
def test_the_mean_of_attention_is_over_the_positions_that_see_the_key(kit, component):
    before = captured(kit, component)
    after = captured(kit, component, change(component, "mean"))
    for key in range(7):
        expected = before[:, :, key:, key].mean(-1, keepdims=True)
        np.testing.assert_allclose(after[:, :, key:, key], expected.repeat(7 - key, -1), 1e-5)
        np.testing.assert_array_equal(after[:, :, :key, key], before[:, :, :key, key])


@pytest.mark.parametrize(
    "edit",
    [
        {"operation": "ablation"},
        {"operation": "scaling", "factor": -2.0},
        {"operation": "scaling", "factor": 0.0},
        {"operation": "noise", "scale": 1.0, "seed": 0},
        {"operation": "replacement", "value": np.float32(1)},
    ],
    ids=lambda edit: f"{edit['operation']}{edit.get('factor', '')}",
)
def test_what_is_masked_out_of_scores_stays_so(kit, edit):
    pattern = captured(kit, "attention_pattern", change("attention_scores", **edit))
    assert not np.triu(pattern, 1).any()
    np.testing.assert_allclose(pattern.sum(-1), 1, atol=1e-6)


def test_noise_has_its_scale_and_comes_from_its_seed(kit):
    def noise(seed: int, layer: int = 0) -> np.ndarray:
        edit = change("residual", "noise", layer, scale=2.0, seed=seed)
        around = change("residual", "ablation", layer)
        return captured(kit, "residual", around, edit, layer=layer)

    assert abs(noise(1).std() - 2) < 0.2
    assert abs(noise(1).mean()) < 0.4
    np.testing.assert_array_equal(noise(1), noise(1))
    for other in (noise(2), noise(1, layer=1)):
        assert abs(np.corrcoef(noise(1).ravel(), other.ravel())[0, 1]) < 0.3
    by_position = noise(1)[0]
    assert abs(np.corrcoef(by_position[0], by_position[1])[0, 1]) < 0.5


def test_a_function_makes_the_same_change_as_the_declared_operation(kit):
    seen = []

    def zero(value, point, positions):
        seen.append((value.shape, value.dtype, point.layer, point.component, positions))
        return np.zeros_like(value)

    live = change("head_output", "function", 1, heads=(3,), positions=(6, 0), function=zero)
    declared = change("head_output", "ablation", 1, heads=(3,), positions=(6, 0))
    np.testing.assert_array_equal(logits(kit, live), logits(kit, declared))
    assert seen == [((1, 1, 2, HEAD_DIM), np.float32, 1, C.HEAD_OUTPUT, (6, 0))]


@pytest.mark.parametrize("component", NUMBERS)
def test_a_function_that_answers_nothing_changes_nothing_at_all(kit, component):
    look = change(component, "function", function=lambda value, point, positions: None)
    np.testing.assert_array_equal(logits(kit, look), logits(kit))


# --- together with captures and with each other ---------------------------------------------


@pytest.mark.parametrize("component", NUMBERS)
def test_a_capture_sees_the_value_after_interventions(kit, component):
    before = captured(kit, component)
    after = captured(kit, component, change(component, "scaling", factor=0.5))
    np.testing.assert_allclose(after, before * 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "layer", "reader"),
    [("residual", 1, "residual"), ("embedding", 0, "residual"), ("residual", 1, "layernorm")],
)
def test_what_comes_next_takes_the_changed_value_in(kit, source, layer, reader):
    edit = change(source, "replacement", 0, value=VECTOR)
    into = captured(kit, reader, edit, layer=layer, is_input=True)
    np.testing.assert_array_equal(into, np.broadcast_to(VECTOR, into.shape))


def test_interventions_at_one_point_act_in_the_order_given(kit):
    zero, plus = change("mlp", "ablation"), change("mlp", "addition", value=VECTOR)
    np.testing.assert_array_equal(captured(kit, "mlp", zero, plus)[0, 3], VECTOR)
    np.testing.assert_array_equal(captured(kit, "mlp", plus, zero)[0, 3], 0 * VECTOR)


def test_a_wildcard_acts_on_every_layer(kit):
    everywhere = logits(kit, change("mlp", "ablation", "*"))
    one_by_one = logits(kit, change("mlp", "ablation", 0), change("mlp", "ablation", 1))
    np.testing.assert_array_equal(everywhere, one_by_one)


def test_half_precision_stays_half_precision():
    kit = kit_of("llama")
    kit.model.set_dtype(mx.bfloat16)
    hook = ActivationHookSpec("0", "residual", "hook", dtype="bfloat16")
    edit = change("mlp", "addition", value=VECTOR)
    result = forward(kit, [TOKENS], [hook], [edit], logits="none")
    assert result.activations["hook"][0].dtype == "bfloat16"


# --- mixtures of experts --------------------------------------------------------------------


def test_without_weights_the_experts_add_nothing(experts):
    assert not captured(experts, "mlp", change("router", "ablation")).any()


def test_experts_are_weighed_by_the_router(experts):
    by_router = captured(experts, "mlp", change("router", "scaling", factor=2.0))
    by_experts = captured(experts, "mlp", change("expert_output", "scaling", factor=2.0))
    np.testing.assert_allclose(by_router, by_experts, atol=1e-6)
    np.testing.assert_allclose(by_router, 2 * captured(experts, "mlp"), atol=1e-6)


# --- in a generation ------------------------------------------------------------------------

IN_GENERATION = {
    "key at a prompt position": change("key", "scaling", factor=-1.0, positions=(2,)),
    "value at a prompt position": change("value", "ablation", positions=(2,)),
    "key before rotation everywhere": change("key_pre_rope", "scaling", factor=0.5),
    "value of one head everywhere": change("value", "ablation", heads=(1,)),
    "residual at a generated position": change(
        "residual", "addition", value=VECTOR, positions=(8,)
    ),
    "positions on both sides of the prompt's end": change(
        "residual", "addition", positions=(1, -1, 9), value=np.eye(3, HIDDEN, dtype=np.float32)
    ),
    "scores everywhere": change("attention_scores", "scaling", factor=0.5),
    "pattern of one head": change("attention_pattern", "ablation", 1, heads=(2,)),
    "noise everywhere": change("mlp", "noise", scale=3.0, seed=5),
}


@pytest.mark.parametrize("chunk", [2, 2048])
@pytest.mark.parametrize("edit", IN_GENERATION.values(), ids=IN_GENERATION)
def test_a_generation_is_the_forward_passes_with_the_same_interventions(kit, edit, chunk):
    steps = create_generator_with_activations(
        kit, TOKENS, interventions=[edit], max_tokens=4, prefill_step_size=chunk
    )
    tokens = list(TOKENS)
    for result, _ in list(steps):
        row = logits(kit, *reached(edit, len(tokens)), tokens=tokens)[0, -1].astype(np.float64)
        logprobs = row - np.log(np.exp(row).sum())
        assert result.token == logprobs.argmax()
        assert abs(result.logprob - logprobs.max()) < 1e-5
        tokens.append(result.token)
    without = logits(kit, tokens=tokens[:-1])[0, -1]
    assert np.abs(row - without).max() > 1e-3


def reached(edit: Intervention, length: int) -> list[Intervention]:
    """The part of an intervention that acts on the first `length` positions."""
    if edit.positions is None:
        return [edit]
    absolute = [p % len(TOKENS) if p < 0 else p for p in edit.positions]
    kept = [index for index, position in enumerate(absolute) if position < length]
    value = edit.value[kept] if np.ndim(edit.value) == 2 else edit.value
    part = replace(edit, positions=tuple(absolute[index] for index in kept), value=value)
    return [part] if kept else []


# --- on other architectures -----------------------------------------------------------------

DIFFERENT = [
    *("gpt2", "gemma2", "gpt_oss", "deepseek_v3", "qwen3_moe", "longcat_flash"),
    *("mamba2", "olmo2", "plamo2"),
]
"""Attention with a softcap, sinks, latents; experts, some of them none; mixers; other norms."""


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_every_hook_point_takes_a_changed_value_back(architecture):
    kit = kit_of(architecture)
    before = logits(kit)
    for component in kit.structure.components:
        if component is C.ROUTER_CHOICE:
            continue
        layers = range(kit.structure.layers)
        layer = next(n for n in layers if (n, component) not in kit.structure.absent)
        again = change(component, "function", layer, function=lambda value, *where: value)
        noise = change(component, "noise", layer, scale=0.5, seed=1)
        np.testing.assert_allclose(logits(kit, again), before, atol=2e-5, err_msg=component)
        assert np.abs(logits(kit, noise) - before).max() > 1e-3, component


# --- what cannot act raises -----------------------------------------------------------------

IMPOSSIBLE = {
    "a layer that is not there": (change("mlp", "ablation", 7), "layers 0 to 1"),
    "a name that is no layer": (change("mlp", "ablation", "bogus"), "layers 0 to 1"),
    "a component that is not one": (change("neurons", "ablation"), "there are .*residual"),
    "a component that the model lacks": (change("router", "ablation"), "the model has .*residual"),
    "heads where there are none": (change("mlp", "ablation", heads=(0,)), "no heads"),
    "a head that is not there": (change("query", "ablation", heads=(4,)), "heads 0 to 3"),
    "a key head that is not there": (change("key", "ablation", heads=(2,)), "heads 0 to 1"),
    "a head twice": (change("query", "ablation", heads=(1, 1)), "head 1 twice"),
    "a position past the end": (change("mlp", "ablation", positions=(7,)), "positions 0 to 6"),
    "a position before the start": (change("mlp", "ablation", positions=(-8,)), "positions 0 to 6"),
    "a position twice": (change("mlp", "ablation", positions=(2, -5)), "position 2 twice"),
    "a value of another shape": (
        change("mlp", "addition", value=VECTOR[:3]),
        r"\(3,\) does not fit the slice of shape \(1, 7, 32\)",
    ),
    "a value larger than the slice": (
        change("mlp", "replacement", positions=(1,), value=np.zeros((1, 7, HIDDEN))),
        r"\(1, 7, 32\) does not fit the slice of shape \(1, 1, 32\)",
    ),
    "a function's answer of another shape": (
        change("mlp", "function", function=lambda value, point, positions: value[:, :3]),
        r"\(1, 3, 32\) for the slice of shape \(1, 7, 32\)",
    ),
}


@pytest.mark.parametrize(("edit", "exists"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_intervention_that_cannot_act_says_what_exists(kit, edit, exists):
    with pytest.raises(InterventionError, match=exists):
        logits(kit, edit)
    assert logits(kit).any()


def test_a_choice_of_experts_is_not_to_be_calculated_with(experts):
    with pytest.raises(InterventionError, match="change router"):
        logits(experts, change("router_choice", "scaling", factor=2.0))


def test_one_that_no_pass_came_by_raises_at_the_end(kit):
    changes = Interventions([change("mlp", "ablation")], kit.structure, 7, range(7))
    with pytest.raises(InterventionError, match="ablation of mlp in layer 0 never acted"):
        changes.check_done(7)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"operation": "rotation"}, "there are ablation, mean"),
        ({"operation": "scaling"}, "needs the parameter factor"),
        ({"operation": "addition", "factor": 2.0}, "no parameter factor"),
        ({"operation": "noise", "scale": 1.0}, "needs the parameter seed"),
        ({"operation": "ablation", "value": VECTOR}, "no parameter value"),
    ],
)
def test_parameters_that_are_missing_or_not_read_are_refused(parameters, message):
    with pytest.raises(InvalidRequestError, match=message):
        Intervention("0", "mlp", **parameters)


def generated(kit: ModelKit, *edits: Intervention, **options) -> list[int]:
    steps = create_generator_with_activations(kit, TOKENS, interventions=edits, **options)
    return [result.token for result, _ in steps]


def test_a_generation_refuses_positions_that_it_cannot_reach(kit):
    with pytest.raises(InterventionError, match="positions 0 to 9"):
        generated(kit, change("mlp", "ablation", positions=(10,)), max_tokens=4)


def test_a_text_may_end_before_the_positions_of_an_intervention(kit):
    second = generated(kit, max_tokens=4)[1]
    tokenizer = Letters()
    tokenizer.eos_token_ids = frozenset({second})
    ending = ModelKit(kit.model, tokenizer, {}, "ending", None, kit.structure)
    edit = change("mlp", "scaling", positions=(9,), factor=1.0)
    assert generated(ending, edit, max_tokens=4) == generated(ending, max_tokens=4)


def test_a_generation_refuses_positions_that_its_cache_has_passed(kit):
    cache = make_prompt_cache(kit.model)
    kit.model(mx.array([OTHERS]), cache=cache)
    edit = change("mlp", "ablation", positions=(3,))
    with pytest.raises(InterventionError, match="positions 7 to 15"):
        generated(kit, edit, max_tokens=3, prompt_cache=cache)


def test_a_generation_has_no_mean_to_take(kit):
    with pytest.raises(InterventionError, match="mean cannot act in a generation"):
        generated(kit, change("mlp", "mean"), max_tokens=2)
