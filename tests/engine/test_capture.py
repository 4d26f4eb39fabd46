"""What is captured: exact shapes, exact numbers, only what was asked for, and no more memory."""

import gc

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.captures.host_memory import PAGE, host_memory
from engine.captures.records import numbers
from engine.components import ComponentType as C
from engine.errors import (
    CaptureTooLargeError,
    DuplicateHookError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownLayerError,
    UnknownPositionError,
)
from engine.runs.forward import forward

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, LAYERS, VOCAB = 4, 2, 8, 32, 2, 96
LENGTH = len(PROMPT)
BATCH = [PROMPT, PROMPT[::-1]]
SHAPES = {
    C.RESIDUAL: (2, LENGTH, HIDDEN),
    C.RESIDUAL_MID: (2, LENGTH, HIDDEN),
    C.LAYERNORM: (2, LENGTH, HIDDEN),
    C.ATTENTION: (2, LENGTH, HIDDEN),
    C.MLP: (2, LENGTH, HIDDEN),
    C.QUERY_PRE_ROPE: (2, HEADS, LENGTH, HEAD_DIM),
    C.KEY_PRE_ROPE: (2, KV_HEADS, LENGTH, HEAD_DIM),
    C.QUERY: (2, HEADS, LENGTH, HEAD_DIM),
    C.KEY: (2, KV_HEADS, LENGTH, HEAD_DIM),
    C.VALUE: (2, KV_HEADS, LENGTH, HEAD_DIM),
    C.ATTENTION_SCORES: (2, HEADS, LENGTH, LENGTH),
    C.ATTENTION_PATTERN: (2, HEADS, LENGTH, LENGTH),
    C.HEAD_OUTPUT: (2, HEADS, LENGTH, HEAD_DIM),
}
WHOLE = {
    C.EMBEDDING: (2, LENGTH, HIDDEN),
    C.FINAL_NORM: (2, LENGTH, HIDDEN),
    C.LOGITS: (2, LENGTH, VOCAB),
}


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama", layer_types=["full_attention"] * LAYERS)


@pytest.fixture(scope="module")
def experts():
    return tiny_kit("qwen3_moe")


def captured(kit, component: C, layer: str = "1", tokens=(PROMPT,), **options) -> np.ndarray:
    """The data of the only record of one hook."""
    hook = ActivationHookSpec(layer, component, hook_id="it", **options)
    (record,) = forward(kit, tokens, [hook]).activations["it"]
    return numbers(record.data, record.dtype)


@pytest.mark.parametrize("component", SHAPES)
def test_a_component_of_a_layer_has_its_exact_shape(kit, component):
    result = forward(kit, BATCH, [ActivationHookSpec("*", component)])
    assert list(result.activations) == [f"layer_{n}_{component}" for n in range(LAYERS)]
    for layer, records in enumerate(result.activations.values()):
        (record,) = records
        assert (record.shape, record.data.dtype) == (SHAPES[component], np.float32)
        assert (record.layer, record.layer_name) == (layer, f"model.layers.{layer}")
        assert (record.step, record.positions, record.is_input) == (0, (0, LENGTH - 1), False)


@pytest.mark.parametrize("component", WHOLE)
def test_a_component_of_the_whole_model_has_its_exact_shape(kit, component):
    result = forward(kit, BATCH, [ActivationHookSpec(component, component)])
    (record,) = result.activations[f"{component}_output"]
    assert (record.shape, record.layer) == (WHOLE[component], None)


def test_router_choice_and_expert_output_have_their_exact_shapes(experts):
    assert captured(experts, C.ROUTER, tokens=BATCH).shape == (2, LENGTH, 4)
    assert captured(experts, C.ROUTER_CHOICE, tokens=BATCH).shape == (2, LENGTH, 2)
    assert captured(experts, C.EXPERT_OUTPUT, tokens=BATCH).shape == (2, LENGTH, 2, HIDDEN)


def test_expert_outputs_weighed_by_the_router_are_the_mlp(experts):
    weights, choice, outputs, mlp = (
        captured(experts, component)
        for component in (C.ROUTER, C.ROUTER_CHOICE, C.EXPERT_OUTPUT, C.MLP)
    )
    chosen = np.take_along_axis(weights, choice.astype(np.int64), axis=-1)
    assert np.count_nonzero(weights) == chosen.size
    np.testing.assert_allclose((outputs * chosen[..., None]).sum(axis=2), mlp, atol=1e-6)


def test_the_residual_stream_is_what_the_block_answers(kit):
    embedding = np.array(kit.model.model.embed_tokens(mx.array([PROMPT])))
    np.testing.assert_array_equal(captured(kit, C.EMBEDDING, "embedding"), embedding)
    np.testing.assert_array_equal(
        np.array(kit.model.model.layers[0](mx.array(embedding), mask="causal")),
        captured(kit, C.RESIDUAL, "0"),
    )


def test_components_agree_with_the_layers_own_parts(kit):
    block = kit.model.layers[1]
    stream = mx.array(captured(kit, C.RESIDUAL, "0"))
    normed = block.input_layernorm(stream)
    attention = block.self_attn(normed, "causal")
    mid = stream + attention
    for component, expected in {
        C.LAYERNORM: normed,
        C.ATTENTION: attention,
        C.RESIDUAL_MID: mid,
        C.MLP: block.mlp(block.post_attention_layernorm(mid)),
    }.items():
        np.testing.assert_array_equal(captured(kit, component), np.array(expected))


def test_query_and_key_are_rotated_and_those_before_rotation_are_not(kit):
    attention = kit.model.layers[1].self_attn
    normed = mx.array(captured(kit, C.LAYERNORM))
    for project, heads, before, after in (
        (attention.q_proj, HEADS, C.QUERY_PRE_ROPE, C.QUERY),
        (attention.k_proj, KV_HEADS, C.KEY_PRE_ROPE, C.KEY),
    ):
        flat = project(normed).reshape(1, LENGTH, heads, HEAD_DIM).transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(captured(kit, before), np.array(flat))
        np.testing.assert_array_equal(captured(kit, after), np.array(attention.rope(flat)))


def test_scores_are_scaled_products_and_minus_infinity_where_masked(kit):
    query, key = captured(kit, C.QUERY), captured(kit, C.KEY)
    products = query @ np.repeat(key, HEADS // KV_HEADS, axis=1).swapaxes(-1, -2) / HEAD_DIM**0.5
    scores = captured(kit, C.ATTENTION_SCORES)
    seen = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
    np.testing.assert_allclose(scores[..., seen], products[..., seen], atol=1e-6)
    assert np.isneginf(scores[..., ~seen]).all()


@pytest.mark.parametrize(
    ("component", "source"),
    [
        (C.MLP, lambda kit: captured(kit, C.RESIDUAL_MID)),
        (C.LAYERNORM, lambda kit: captured(kit, C.RESIDUAL, "0")),
        (C.RESIDUAL, lambda kit: captured(kit, C.RESIDUAL, "0")),
        (C.ATTENTION, lambda kit: captured(kit, C.LAYERNORM)),
        (C.QUERY, lambda kit: captured(kit, C.QUERY_PRE_ROPE)),
        (C.KEY, lambda kit: captured(kit, C.KEY_PRE_ROPE)),
        (C.VALUE, lambda kit: captured(kit, C.LAYERNORM)),
        (C.ATTENTION_PATTERN, lambda kit: captured(kit, C.ATTENTION_SCORES)),
    ],
)
def test_an_input_is_what_goes_into_the_component(kit, component, source):
    hook = ActivationHookSpec("1", component, capture_input=True, capture_output=False)
    (records,) = forward(kit, [PROMPT], [hook]).activations.values()
    assert records[0].is_input
    data = records[0].data
    if component is C.MLP:
        norm = kit.model.layers[1].post_attention_layernorm
        np.testing.assert_array_equal(data, np.array(norm(mx.array(source(kit)))))
    else:
        np.testing.assert_array_equal(data, source(kit))


def test_input_and_output_of_one_hook_are_two_records(kit):
    hook = ActivationHookSpec("1", C.RESIDUAL, capture_input=True)
    records = forward(kit, [PROMPT], [hook]).activations["layer_1_residual"]
    assert [record.is_input for record in records] == [True, False]


@pytest.mark.parametrize("component", [C.RESIDUAL, C.QUERY, C.KEY, C.ATTENTION_PATTERN])
def test_positions_are_rows_of_the_whole(kit, component):
    whole = captured(kit, component)
    part = captured(kit, component, positions=(2, 5, -1))
    axis = 1 if component is C.RESIDUAL else 2
    np.testing.assert_array_equal(part, whole.take([2, 5, LENGTH - 1], axis))


@pytest.mark.parametrize("component", [C.QUERY, C.ATTENTION_SCORES, C.HEAD_OUTPUT])
def test_heads_are_rows_of_the_whole(kit, component):
    whole = captured(kit, component)
    np.testing.assert_array_equal(captured(kit, component, heads=(3, 1)), whole[:, [3, 1]])


def test_a_records_positions_are_the_first_and_last_that_it_has(kit):
    hook = ActivationHookSpec("1", C.MLP, positions=(4, 9))
    ((record,),) = forward(kit, [PROMPT], [hook]).activations.values()
    assert record.positions == (4, 9)


@pytest.mark.parametrize("spelling", ["1", "model.layers.1", "transformer.h.1", "blocks.1.mlp"])
def test_every_spelling_of_a_layer_means_the_same(kit, spelling):
    np.testing.assert_array_equal(captured(kit, C.MLP, spelling), captured(kit, C.MLP, "1"))


@pytest.mark.parametrize("spelling", ["transformer.wte", "model.embed_tokens", "embedding", "*"])
def test_every_spelling_of_the_embedding_means_the_same(kit, spelling):
    expected = captured(kit, C.EMBEDDING, "embedding")
    np.testing.assert_array_equal(captured(kit, C.EMBEDDING, spelling), expected)


def test_a_given_id_on_several_layers_says_which_layer():
    structure = tiny_kit("llama").structure
    hooks = resolve_hooks([ActivationHookSpec("0-1", C.MLP, hook_id="mine")], structure)
    assert [hook.hook_id for hook in hooks] == ["mine_layer_0", "mine_layer_1"]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (ActivationHookSpec("2", C.MLP), UnknownLayerError, "layers 0 to 1"),
        (ActivationHookSpec("1-2", C.MLP), UnknownLayerError, "layers 0 to 1"),
        (ActivationHookSpec("one", C.MLP), UnknownLayerError, "names no layer"),
        (ActivationHookSpec("0", C.LOGITS), UnknownLayerError, "'logits'"),
        (ActivationHookSpec("0", "mpl"), UnknownComponentError, "there are embedding, residual"),
        (ActivationHookSpec("0", C.ROUTER), UnknownComponentError, "mixture of experts"),
        (
            ActivationHookSpec("0", C.HEAD_OUTPUT, capture_input=True),
            UnknownComponentError,
            "no one input",
        ),
        (ActivationHookSpec("0", C.QUERY, heads=(4,)), UnknownHeadError, "heads 0 to 3"),
        (ActivationHookSpec("0", C.KEY, heads=(2,)), UnknownHeadError, "heads 0 to 1"),
        (ActivationHookSpec("0", C.MLP, heads=(0,)), UnknownHeadError, "no heads"),
        (ActivationHookSpec("0", C.MLP, positions=(16,)), UnknownPositionError, "0 to 15"),
        (ActivationHookSpec("0", C.MLP, positions=(-17,)), UnknownPositionError, "0 to 15"),
        (ActivationHookSpec("0", C.MLP, dtype="int8"), InvalidRequestError, "float32, float16"),
        (ActivationHookSpec("0", C.MLP, capture_output=False), InvalidRequestError, "neither"),
    ],
)
def test_what_cannot_be_captured_is_refused_and_what_exists_is_named(kit, spec, error, message):
    with pytest.raises(error, match=message):
        forward(kit, [PROMPT], [spec])


def test_two_hooks_of_one_id_are_refused(kit):
    with pytest.raises(DuplicateHookError, match="layer_0_mlp"):
        forward(kit, [PROMPT], [ActivationHookSpec("0", C.MLP), ActivationHookSpec("*", C.MLP)])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "at least one"),
        ([[]], "at least one"),
        ([[1, 2], [3]], r"not \[1, 2\]"),
        ([[1, VOCAB]], "vocabulary of 96"),
        ([[-1]], "vocabulary of 96"),
    ],
)
def test_tokens_that_cannot_be_run_are_refused(kit, tokens, message):
    with pytest.raises(InvalidRequestError, match=message):
        forward(kit, tokens)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_narrower_dtype_is_the_same_values_rounded(kit, dtype):
    hook = ActivationHookSpec("1", C.MLP, dtype=dtype)
    ((record,),) = forward(kit, [PROMPT], [hook]).activations.values()
    assert (record.dtype, record.data.itemsize) == (dtype, 2)
    exact = mx.array(captured(kit, C.MLP)).astype(getattr(mx, dtype)).astype(mx.float32)
    np.testing.assert_array_equal(numbers(record.data, dtype).astype(np.float32), np.array(exact))


def test_bfloat16_models_are_widened_without_loss():
    kit = tiny_kit("llama")
    kit.model.set_dtype(mx.bfloat16)
    narrow = captured(kit, C.RESIDUAL, dtype="bfloat16")
    np.testing.assert_array_equal(captured(kit, C.RESIDUAL), narrow)


def test_logits_are_answered_for_all_positions_the_last_or_none(kit):
    whole = forward(kit, BATCH, logits="all").logits
    assert whole.shape == (2, LENGTH, VOCAB)
    np.testing.assert_array_equal(forward(kit, BATCH).logits, whole[:, -1:])
    assert forward(kit, BATCH, logits="none").logits is None
    with pytest.raises(InvalidRequestError, match="last, all, none"):
        forward(kit, BATCH, logits="some")


def test_a_budget_of_exactly_the_payload_is_enough_and_one_byte_less_is_refused(kit):
    hooks = [ActivationHookSpec("*", C.ATTENTION_PATTERN), ActivationHookSpec("*", C.MLP)]
    activations = forward(kit, [PROMPT], hooks).activations
    payload = sum(record.nbytes for records in activations.values() for record in records)
    forward(kit, [PROMPT], hooks, budget_bytes=payload)
    message = f"needs at least {payload} bytes; the budget is {payload - 1}"
    with pytest.raises(CaptureTooLargeError, match=message):
        forward(kit, [PROMPT], hooks, budget_bytes=payload - 1)


def test_a_refused_capture_is_refused_before_anything_is_computed(kit):
    mx.eval(kit.model.parameters())
    gc.collect()
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    with pytest.raises(CaptureTooLargeError):
        forward(kit, [PROMPT * 30], [ActivationHookSpec("*", "attention_pattern")], budget_bytes=9)
    assert mx.get_peak_memory() - before < 1 << 16


@pytest.mark.slow
@pytest.mark.parametrize("component", [C.ATTENTION_PATTERN, C.VALUE, C.RESIDUAL])
@pytest.mark.parametrize("selected", [False, True])
def test_what_a_capture_holds_is_its_payload(kit, component, selected):
    options = {"heads": (1,)} if selected and component is not C.RESIDUAL else {}
    if selected:
        options["positions"] = tuple(range(0, 512, 64))
    hooks = [ActivationHookSpec("*", component, **options)]
    tokens = [(PROMPT * 32)[:512]]
    forward(kit, tokens, hooks)
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    activations = forward(kit, tokens, hooks, logits="none").activations
    payload = sum(record.nbytes for records in activations.values() for record in records)
    owners = [owner(record.data) for records in activations.values() for record in records]
    held = sum({memory.ctypes.data: memory.nbytes for memory in owners}.values())
    gc.collect()
    allowed = 1.2 * payload
    if host_memory():  # which lends whole pages, and up to a quarter more
        allowed = 1.25 * payload + PAGE * len(owners)
    assert held + mx.get_active_memory() - before <= allowed


def owner(array: np.ndarray) -> np.ndarray:
    """The array that holds the memory of a view."""
    return owner(array.base) if isinstance(array.base, np.ndarray) else array


def test_records_of_looped_layers_are_told_apart_by_their_turn():
    kit = tiny_kit("nanbeige")
    ((first, second),) = forward(
        kit, [PROMPT], [ActivationHookSpec("0", C.MLP)]
    ).activations.values()
    assert (first.visit, second.visit) == (0, 1)
    assert first.shape == second.shape == (1, LENGTH, HIDDEN)
    assert not np.array_equal(first.data, second.data)
