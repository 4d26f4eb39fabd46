"""Hook points by the field's names: TransformerLens's, and module paths."""

from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import (
    EngineError,
    InterventionError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownLayerError,
)
from engine.field_names import FIELD_NAMES, FieldName, field_name, markdown_page
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit

NAMED = ("llama", "gpt2", "gemma2", "mixtral", "qwen3")
ROWS = [(row, name) for row in FIELD_NAMES for name in row.names]


@cache
def kit_of(architecture: str) -> ModelKit:
    return tiny_kit(architecture)


def record(kit: ModelKit, spec: ActivationHookSpec):
    ((found,),) = forward(kit, [PROMPT], [spec]).activations.values()
    return found


def canonical(kit: ModelKit, row: FieldName):
    layer = row.component.value if row.component in WHOLE_MODEL else "1"
    spec = ActivationHookSpec(
        layer, row.component, capture_input=row.is_input, capture_output=not row.is_input
    )
    return record(kit, spec)


@pytest.mark.parametrize("name_of", NAMED)
@pytest.mark.parametrize(("row", "name"), ROWS, ids=[name for _, name in ROWS])
def test_each_name_of_the_table_is_the_same_tensor_as_the_component(name_of, row, name):
    kit = kit_of(name_of)
    full = name if row.component in WHOLE_MODEL else f"blocks.1.{name}"
    if row.component not in kit.info.components:
        with pytest.raises(UnknownComponentError, match=f"has no {row.component}"):
            record(kit, ActivationHookSpec(full))
        return
    expected = canonical(kit, row)
    layer = "*" if row.component in WHOLE_MODEL else "1"
    for spec in (
        ActivationHookSpec(full),
        ActivationHookSpec(full, row.component),
        ActivationHookSpec(layer, name),
    ):
        found = record(kit, spec)
        assert (found.component, found.is_input) == (row.component, row.is_input)
        assert found.field_name == row.of_layer(1)[0]
        np.testing.assert_array_equal(found.data, expected.data)


def test_pre_and_post_are_the_residual_stream_before_and_after_a_block():
    kit = kit_of("llama")
    before = record(kit, ActivationHookSpec("blocks.1.hook_resid_pre")).data
    after = record(kit, ActivationHookSpec("blocks.0.hook_resid_post")).data
    np.testing.assert_array_equal(before, after)


def test_queries_of_transformer_lens_are_before_rotation():
    kit = kit_of("llama")
    query = record(kit, ActivationHookSpec("blocks.1.attn.hook_q"))
    rotated = record(kit, ActivationHookSpec("blocks.1.attn.hook_rot_q"))
    assert query.component is C.QUERY_PRE_ROPE
    assert rotated.component is C.QUERY
    attention = kit.model.model.layers[1].self_attn
    turned = attention.rope(mx.array(query.data))
    np.testing.assert_allclose(rotated.data, np.array(turned), rtol=1e-5, atol=1e-5)


def test_a_wildcard_in_a_name_is_every_layer_that_has_it():
    structure = kit_of("llama").structure
    hooks = resolve_hooks([ActivationHookSpec("blocks.*.attn.hook_z")], structure)
    assert [hook.hook_id for hook in hooks] == ["layer_0_head_output", "layer_1_head_output"]
    hooks = resolve_hooks([ActivationHookSpec("blocks.0-1", "hook_mlp_out")], structure)
    assert [hook.hook_id for hook in hooks] == ["layer_0_mlp", "layer_1_mlp"]


def test_a_component_without_a_name_has_none():
    assert field_name(C.ROUTER, 1) is None
    assert field_name(C.EMBEDDING, None) == "hook_embed"


def test_the_documentation_is_the_table():
    page = Path(__file__).parents[2] / "docs" / "hook-points.md"
    assert page.read_text(encoding="utf-8") == markdown_page()
    assert all(f"`{name}`" in markdown_page() for row in FIELD_NAMES for name in row.of_layer("N"))


# --- module paths ----------------------------------------------------------------------------


def recorded(model, tokens) -> dict[str, tuple[mx.array, mx.array]]:
    """What each module took and returned in a pass, by its path; of modules called once."""
    seen: dict[str, list[tuple[mx.array, mx.array]]] = {}
    swapped = []
    for path, module in model.named_modules():
        own = type(module)

        def call(self, *args, _path=path, _own=own, **kwargs):
            result = _own.__call__(self, *args, **kwargs)
            output = result[0] if isinstance(result, tuple) else result
            if args and isinstance(args[0], mx.array):
                seen.setdefault(_path, []).append((args[0], output))
            return result

        swapped.append((module, own))
        module.__class__ = type(own.__name__, (own,), {"__call__": call})
    try:
        model(mx.array([tokens]))
    finally:
        for module, own in reversed(swapped):  # layers share some modules
            module.__class__ = own
    return {path: calls[0] for path, calls in seen.items() if len(calls) == 1}


def flat(value, component: C, is_input: bool) -> np.ndarray:
    """A value as a module has it: heads and width in one axis, behind the positions."""
    array = np.array(value)
    if component in PER_HEAD and not is_input and array.ndim == 4:
        array = array.transpose(0, 2, 1, 3).reshape(1, len(PROMPT), -1)
    return array


@pytest.mark.parametrize(
    "name_of", [*NAMED, "phi3", "gpt_neox", "olmo2", "starcoder2", "cohere", "qwen2"]
)
def test_a_module_path_is_what_the_module_takes_and_returns(name_of):
    kit = kit_of(name_of)
    modules = recorded(kit.model, PROMPT)
    block = kit.structure.layer_names[1]
    paths = [path for path in modules if path.startswith(f"{block}.")]
    checked = 0
    for path in paths:
        for is_input, value in zip((True, False), modules[path], strict=True):
            spec = ActivationHookSpec(path, capture_input=is_input, capture_output=not is_input)
            try:
                found = record(kit, spec)
            except UnknownComponentError:
                continue
            if found.data.ndim > 3 and found.component not in PER_HEAD:
                continue  # of the chosen experts, whose rows the module has in another order
            given = flat(found.data, found.component, found.is_input)
            as_given = np.array(value).reshape(given.shape)
            np.testing.assert_allclose(given, as_given, rtol=1e-5, atol=1e-5, err_msg=path)
            checked += 1
    assert checked >= 8


@pytest.mark.parametrize(
    ("name_of", "path", "is_input", "component"),
    [
        ("llama", "model.layers.1.mlp.down_proj", True, C.MLP_HIDDEN),
        ("llama", "model.layers.1.mlp.gate_proj", False, C.MLP_GATE),
        ("llama", "model.layers.1.self_attn.o_proj", True, C.HEAD_OUTPUT),
        ("llama", "model.layers.1.self_attn.q_proj", False, C.QUERY_PRE_ROPE),
        ("llama", "model.layers.1.self_attn.v_proj", False, C.VALUE),
        ("llama", "model.layers.1.input_layernorm", False, C.LAYERNORM),
        ("llama", "blocks.1", False, C.RESIDUAL),
        ("gpt2", "transformer.h.1.mlp.c_proj", True, C.MLP_HIDDEN),
        ("gpt2", "transformer.h.1.attn.c_proj", True, C.HEAD_OUTPUT),
        ("gpt2", "transformer.h.1.attn", False, C.ATTENTION),
        ("gpt2", "model.layers.1.self_attn.o_proj", True, C.HEAD_OUTPUT),
        ("gemma2", "model.layers.1.self_attn.o_proj", True, C.HEAD_OUTPUT),
        ("gemma2", "model.layers.1.mlp.down_proj", True, C.MLP_HIDDEN),
    ],
)
def test_module_paths_by_both_libraries_names(name_of, path, is_input, component):
    kit = kit_of(name_of)
    spec = ActivationHookSpec(path, capture_input=is_input, capture_output=not is_input)
    found = record(kit, spec)
    assert (found.component, found.is_input) == (component, False)
    np.testing.assert_array_equal(found.data, record(kit, ActivationHookSpec("1", component)).data)


@pytest.mark.parametrize(
    ("spelling", "component"),
    [
        ("model.embed_tokens", C.EMBEDDING),
        ("transformer.wte", C.EMBEDDING),
        ("model.norm", C.FINAL_NORM),
        ("transformer.ln_f", C.FINAL_NORM),
        ("lm_head", C.LOGITS),
        ("logits", C.LOGITS),
    ],
)
def test_what_a_model_has_once_needs_no_component(spelling, component):
    kit = kit_of("llama")
    expected = record(kit, ActivationHookSpec("*", component))
    np.testing.assert_array_equal(record(kit, ActivationHookSpec(spelling)).data, expected.data)


def test_the_output_of_a_projection_before_a_norm_is_not_what_is_added():
    with pytest.raises(
        UnknownComponentError,
        match=r"output of 'mlp.down_proj' is no hook point.*"
        "its input is: mlp_hidden",
    ):
        record(kit_of("gemma2"), ActivationHookSpec("model.layers.1.mlp.down_proj"))


# --- what disagrees --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            ActivationHookSpec("blocks.1.attn.hook_q", C.QUERY),
            InvalidRequestError,
            "'attn.hook_q' is query_pre_rope, not query",
        ),
        (
            ActivationHookSpec("blocks.1.hook_resid_pre", capture_output=True),
            InvalidRequestError,
            "names one value, the input",
        ),
        (
            ActivationHookSpec("blocks.1.hook_resid_pre", capture_input=False),
            InvalidRequestError,
            "names one value, the input",
        ),
        (
            ActivationHookSpec("blocks.1.hook_resid_post", capture_input=True),
            InvalidRequestError,
            "names one value, the output",
        ),
        (
            ActivationHookSpec("hook_embed", capture_input=True),
            InvalidRequestError,
            "names one value, the output",
        ),
        (
            ActivationHookSpec("blocks.0", "blocks.1.hook_mlp_out"),
            InvalidRequestError,
            "different layers",
        ),
        (
            ActivationHookSpec("blocks.0.hook_mlp_out", "hook_attn_out"),
            InvalidRequestError,
            "another place",
        ),
        (
            ActivationHookSpec("model.layers.1.mlp", C.ATTENTION),
            InvalidRequestError,
            "attention is not in 'mlp'",
        ),
        (
            ActivationHookSpec("model.layers.1.mlp.down_proj", C.MLP_HIDDEN, capture_input=True),
            InvalidRequestError,
            "is itself the input of",
        ),
        (
            ActivationHookSpec(
                "model.layers.1.mlp.down_proj", capture_input=True, capture_output=True
            ),
            InvalidRequestError,
            "is mlp_hidden, and its output mlp",
        ),
        (ActivationHookSpec("1"), UnknownComponentError, "names no component; there are"),
        (ActivationHookSpec("*"), UnknownComponentError, "names no component"),
        (ActivationHookSpec("hook_mlp_out"), UnknownLayerError, "names no layer"),
        (ActivationHookSpec("blocks.2.hook_mlp_out"), UnknownLayerError, "layers 0 to 1"),
        (ActivationHookSpec("blocks.1.hook_scale"), UnknownComponentError, "mlp.hook_post"),
        (ActivationHookSpec("blocks.1.ln1.hook_normalized"), UnknownComponentError, "ln1.hook_out"),
        (ActivationHookSpec("hook_pos_embed"), UnknownLayerError, "names no layer"),
        (ActivationHookSpec("hook_pos_embed", C.EMBEDDING), UnknownLayerError, "'embedding'"),
        (ActivationHookSpec("ln_final.hook_scale", C.FINAL_NORM), UnknownLayerError, "final_norm"),
        (ActivationHookSpec("model.layers.1.heart"), UnknownComponentError, "self_attn"),
        (ActivationHookSpec("model.layers.1.heart", C.MLP), UnknownLayerError, "self_attn"),
        (ActivationHookSpec("1", "heart"), UnknownComponentError, "there are embedding, residual"),
    ],
)
def test_names_that_disagree_or_do_not_exist_are_refused(spec, error, message):
    with pytest.raises(EngineError, match=message) as raised:
        record(kit_of("llama"), spec)
    assert type(raised.value) is error


# --- interventions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("blocks.1.attn.hook_z", C.HEAD_OUTPUT),
        ("blocks.1.hook_mlp_out", C.MLP),
        ("model.layers.1.self_attn", C.ATTENTION),
    ],
)
def test_an_intervention_is_placed_by_a_name_alone(name, component):
    kit = kit_of("llama")
    by_name, by_component = (
        forward(kit, [PROMPT], interventions=[change]).logits
        for change in (
            Intervention(name, None, "scaling", factor=0.5),
            Intervention("1", component, "scaling", factor=0.5),
        )
    )
    np.testing.assert_array_equal(by_name, by_component)
    assert not np.array_equal(by_name, forward(kit, [PROMPT]).logits)


def test_an_intervention_on_what_a_block_is_given_is_one_on_what_the_block_before_returns():
    kit = kit_of("llama")
    pre, post = (
        forward(kit, [PROMPT], interventions=[Intervention(name, None, "ablation")]).logits
        for name in ("blocks.1.hook_resid_pre", "blocks.0.hook_resid_post")
    )
    np.testing.assert_array_equal(pre, post)
    assert not np.array_equal(pre, forward(kit, [PROMPT]).logits)


def test_an_intervention_whose_names_disagree_is_refused():
    change = Intervention("blocks.1.attn.hook_q", C.QUERY, "ablation")
    with pytest.raises(InterventionError, match="is query_pre_rope, not query"):
        forward(kit_of("llama"), [PROMPT], interventions=[change])
