"""TransformerLens's names in an image, beside NeuroScope's."""

import numpy as np
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from engine.field_names import FIELD_NAMES
from systems import System, answer

TOKENS = [5, 6, 7, 8]
SAMPLE = {
    "hook_resid_post": "residual",
    "attn.hook_z": "head_output",
    "attn.hook_q": "query_pre_rope",
    "attn.hook_rot_k": "key",
    "mlp.hook_post": "mlp_hidden",
}


def test_the_names_are_those_of_the_table(system: System) -> None:
    rows = [(row, name) for row in FIELD_NAMES for name in row.names]
    names = " ".join(f"'{name}'" for _, name in rows)
    found = answer(
        system,
        f"#({names}) collect: [:each | {{NeuroScopeNames apiNameOf: each. "
        "NeuroScopeNames apiNameOf: 'blocks.17.' , each. "
        "NeuroScopeNames layerOf: 'blocks.17.' , each. NeuroScopeNames isInput: each}]",
    )
    assert found == [[row.component, row.component, 17, row.is_input] for row, _ in rows]


def test_a_pass_is_cached_by_field_names(system: System, engine: LMStudioNeuroScopeClient) -> None:
    names = " ".join(f"'{name}'" for name in SAMPLE)
    shapes, sums, named, by_point = ask(
        system,
        engine,
        f"| output names | names := #({names});; "
        f"output := model runWithCaching: #({' '.join(map(str, TOKENS))}) layers: #(3) "
        "components: names;; "
        "{names collect: [:each | (output at: 3 at: each) shape asArray]. "
        "names collect: [:each | (output at: 3 at: each) mean]. "
        "names collect: [:each | (output cachedActivations at: 'blocks.3.' , each) mean]. "
        "names collect: [:each | (output at: 3 at: each) fieldName]}",
    )
    expected = capture(engine, TOKENS, *((3, component) for component in SAMPLE.values()))
    arrays = [expected[3, component] for component in SAMPLE.values()]
    assert shapes == [list(array.shape) for array in arrays]
    np.testing.assert_allclose(sums, [array.mean() for array in arrays], rtol=1e-4, atol=1e-6)
    assert named == sums
    assert by_point == [f"blocks.3.{name}" for name in SAMPLE]


def test_what_a_block_is_given_is_what_the_block_before_answers(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    pre, post, hooked, ids = ask(
        system,
        engine,
        "| output hook |"
        "hook := ActivationHook new layer: 'blocks.4.hook_resid_pre'; "
        "action: [:activation | activation mean]; yourself;; model addHook: hook;; "
        "output := model runWithCaching: #(5 6 7 8) layers: #(3 4) "
        "components: #(#residual 'hook_resid_pre');; "
        "{(output at: 4 at: 'hook_resid_pre') mean. (output at: 3 at: #residual) mean. "
        "hook lastResult. (output cachedActivations at: 'blocks.4.hook_resid_pre') record "
        "at: 'is_input'}",
    )
    assert pre == post == hooked
    assert ids is True


def test_the_client_asks_by_names(system: System, engine: LMStudioNeuroScopeClient) -> None:
    by_id, by_name, neurons, changed = ask(
        system,
        engine,
        "| reply activations change |"
        "reply := client forward: #(5 6 7 8) hooks: {client hookNamed: 'blocks.2.attn.hook_z'. "
        "client hookForLayer: 1 component: 'mlp.hook_post'};; "
        "activations := reply at: 'activations';; "
        "{(activations at: 'layer_2_head_output') size. "
        "(activations at: 'blocks.2.attn.hook_z') size. "
        "((activations at: 'blocks.1.mlp.hook_post') first at: 'component'). "
        "(model hookManager addHook: (InterventionHook layer: 2 component: 'attn.hook_z' "
        "type: #ablation)) component}",
    )
    assert (by_id, by_name, neurons) == (1, 1, "mlp_hidden")
    assert changed == "attn.hook_z"


def test_an_intervention_by_a_field_name_is_that_of_the_component(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    def last(place: str) -> float:
        return ask(
            system,
            engine,
            f"model addHook: (InterventionHook {place} type: #ablation);; "
            "(model forward: #(5 6 7 8)) logits last mean",
        )

    assert last("layer: 2 component: 'attn.hook_z'") == last("layer: 2 component: #headOutput")
    assert last("layer: 4 component: 'hook_resid_pre'") == last("layer: 3 component: #residual")


def test_live_blocks_stop_at_field_names(system: System, engine: LMStudioNeuroScopeClient) -> None:
    shape, seen = ask(
        system,
        engine,
        "| seen shape | "
        "model addHook: (InterventionHook layer: 4 component: 'hook_resid_pre' "
        "action: [:activation | seen := activation fieldName. shape := activation shape asArray. "
        "activation]);; model forward: #(5 6 7 8);; {shape. seen}",
    )
    assert shape[:2] == [1, 4]
    assert seen == "blocks.4.hook_resid_pre"
