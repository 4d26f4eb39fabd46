"""Sets of parts, several examples, ablation and scores agree with passes made one by one."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from reference_models import reference_model, save
from tasks import TINY, score, selected, value
from tiny import tiny_kit

from engine.analysis.ablation import Ablation
from engine.analysis.circuits import patch_effects, patch_sets
from engine.analysis.parts import CircuitPart
from engine.analysis.task import Task
from engine.captures.hooks import ActivationHookSpec
from engine.errors import (
    InvalidRequestError,
    UnknownHeadError,
    UnknownLayerError,
    UnknownNeuronError,
    UnknownPositionError,
)
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit, load_model

pytestmark = pytest.mark.usefixtures("one_thread")

SHORTER = Task(clean=[5, 17, 8, 60], corrupted=[5, 17, 44, 60], answer=7, distractor=11)


@pytest.fixture(scope="module")
def tiny() -> ModelKit:
    return tiny_kit("llama", layer_types=["full_attention"] * 2)


def edit(layer: int, component: str, value: np.ndarray, **where) -> Intervention:
    return Intervention(str(layer), component, "replacement", value=value, **where)


# --- sets of parts ---------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_parts_of_a_set_are_patched_in_one_pass(tiny, direction):
    base, source = (TINY.corrupted, TINY.clean)
    if direction == "noising":
        base, source = source, base
    parts = [
        CircuitPart(0, "head_output", head=1),
        CircuitPart(0, "head_output", head=3, positions=(-1, 2)),
        CircuitPart(1, "head_output", head=0, positions=(4,)),
        CircuitPart(0, "mlp", positions=(1, 5)),
        CircuitPart(1, "mlp_hidden", neuron=7),
    ]
    heads = value(tiny, source, "head_output", 0)
    of_source = value(tiny, source, "mlp_hidden", 1)
    edits = [
        edit(0, "head_output", heads[:, [1]], heads=(1,)),
        edit(0, "head_output", selected(heads, 3, [2, 5]), heads=(3,), positions=(2, 5)),
        edit(
            1,
            "head_output",
            selected(value(tiny, source, "head_output", 1), 0, [4]),
            heads=(0,),
            positions=(4,),
        ),
        edit(0, "mlp", selected(value(tiny, source, "mlp", 0), None, [1, 5]), positions=(1, 5)),
    ]
    # The other neurons are what they are in this very pass, with all the rest of the set changed.
    hook = ActivationHookSpec("1", "mlp_hidden", "hook")
    neurons = forward(tiny, [base], [hook], interventions=edits).activations["hook"][0].data.copy()
    neurons[..., 7] = of_source[..., 7]
    expected = score(tiny, base, *edits, edit(1, "mlp_hidden", neurons))
    found = patch_sets(tiny, TINY, [parts, parts[:1], []], direction=direction)
    assert found.scores.shape == (1, 3)
    assert found.scores[0] == pytest.approx(
        [expected, score(tiny, base, edits[0]), score(tiny, base)], abs=2e-5
    )
    gap = score(tiny, source) - score(tiny, base)
    assert found.effects == pytest.approx((found.scores[0] - score(tiny, base)) / gap, abs=1e-4)


def test_a_set_of_one_part_has_the_effect_that_the_sweep_gives_it(tiny):
    for method in ("activation_patching", "attribution_patching", "ablation"):
        swept = patch_effects(tiny, TINY, method=method)
        sets = [[CircuitPart(layer, head=head)] for layer in range(2) for head in range(4)]
        found = patch_sets(tiny, TINY, sets, method=method)
        np.testing.assert_allclose(found.effects, swept.effects.ravel(), atol=1e-5)


def test_attribution_of_a_set_is_the_sum_of_its_parts(tiny):
    parts = [CircuitPart(0, "mlp"), CircuitPart(1, head=2), CircuitPart(1, "mlp_hidden", neuron=3)]
    together = patch_sets(tiny, TINY, [parts, []], method="attribution_patching")
    alone = patch_sets(tiny, TINY, [[part] for part in parts], method="attribution_patching")
    assert together.effects[0] == pytest.approx(alone.effects.sum(), abs=1e-5)
    assert together.effects[1] == 0


def test_parts_that_overlap_are_patched_once(tiny):
    part = CircuitPart(1, head=2)
    again = [part, part, CircuitPart(1, head=2, positions=(0,))]
    for method in ("activation_patching", "attribution_patching"):
        found = patch_sets(tiny, TINY, [[part], again], method=method)
        assert found.effects[0] == found.effects[1]


def test_the_size_of_batches_does_not_matter_to_sets(tiny):
    sets = [[], [CircuitPart(1, head=0)], [CircuitPart(0, "mlp"), CircuitPart(1, "attention")]]
    one_by_one = patch_sets(tiny, TINY, sets, batch_bytes=1)
    np.testing.assert_allclose(one_by_one.scores, patch_sets(tiny, TINY, sets).scores, atol=1e-5)


# --- neurons ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same tiny llama in transformers and here."""
    model = reference_model("llama")
    return model, load_model(save(model, tmp_path_factory.mktemp("llama")), dtype="float32")


def torch_score(model, tokens, task: Task = TINY) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([list(tokens)])).logits[0, -1]
    return float(logits[task.answer] - logits[task.distractor])


def test_neurons_patched_one_by_one_agree_with_pytorch(both):
    model, kit = both
    projection = model.model.layers[2].mlp.down_proj
    seen = []
    handle = projection.register_forward_pre_hook(lambda module, args: seen.extend(args))
    clean = torch_score(model, TINY.clean)
    handle.remove()
    corrupted = torch_score(model, TINY.corrupted)
    neurons = [0, 5, 47]
    expected = np.empty((len(neurons), 6))
    for row, neuron in enumerate(neurons):
        for position in range(6):

            def patch(module, args, neuron=neuron, position=position):
                changed = args[0].clone()
                changed[0, position, neuron] = seen[0][0, position, neuron]
                return (changed,)

            handle = projection.register_forward_pre_hook(patch)
            changed = torch_score(model, TINY.corrupted)
            handle.remove()
            expected[row, position] = (changed - corrupted) / (clean - corrupted)
    found = patch_effects(
        kit, TINY, component="mlp_hidden", layers=[2], neurons=neurons, positions="each"
    )
    assert (found.layers, found.neurons, found.heads) == ([2], neurons, None)
    np.testing.assert_allclose(found.effects, expected[None], atol=1e-4)


def test_attribution_of_all_neurons_is_pytorch_s_gradient(both):
    model, kit = both
    found = patch_effects(kit, TINY, component="mlp_hidden", method="attribution_patching")
    values, gradients = {}, {}
    for name, tokens in (("clean", TINY.clean), ("corrupted", TINY.corrupted)):
        kept = []

        def keep(module, args, kept=kept):
            args[0].retain_grad()
            kept.append(args[0])

        handles = [b.mlp.down_proj.register_forward_pre_hook(keep) for b in model.model.layers]
        logits = model(torch.tensor([tokens])).logits[0, -1]
        (logits[TINY.answer] - logits[TINY.distractor]).backward()
        for handle in handles:
            handle.remove()
        values[name] = [each.detach().numpy()[0] for each in kept]
        gradients[name] = [each.grad.numpy()[0] for each in kept]
    gap = torch_score(model, TINY.clean) - torch_score(model, TINY.corrupted)
    expected = [
        (slope * (clean - corrupted)).sum(0) / gap
        for slope, clean, corrupted in zip(
            gradients["corrupted"], values["clean"], values["corrupted"], strict=True
        )
    ]
    assert found.effects.shape == (6, 48)
    np.testing.assert_allclose(found.effects, expected, atol=1e-4)


def test_a_neuron_that_experts_take_turns_in_is_refused():
    kit = tiny_kit("mixtral")
    with pytest.raises(InvalidRequestError, match="experts that each token chooses"):
        patch_effects(kit, TINY, component="mlp_hidden")


# --- ablation --------------------------------------------------------------------------------

REFERENCES = [[9, 2, 60, 33, 71, 5], [14, 15, 9, 26, 53, 58], [27, 18, 28, 18, 28, 45]]
OF_OTHER_LENGTHS = [[9, 2, 60], [14, 15, 9, 26, 53, 58, 79, 3]]


def constant_mlp(kit: ModelKit, layer: int, constant: np.ndarray) -> None:
    """Edit the weights so that an MLP adds the same everywhere."""
    projection = kit.model.model.h[layer].mlp.c_proj
    projection.weight = mx.zeros_like(projection.weight)
    projection.bias = mx.array(constant)


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_ablation_of_an_mlp_is_an_edit_of_its_weights(kind):
    kit = tiny_kit("gpt2")
    layer = 1
    ablation = Ablation()
    constant = np.zeros(kit.info.hidden_size, np.float32)
    if kind == "mean":
        references = [*REFERENCES, *OF_OTHER_LENGTHS]
        ablation = Ablation("mean", references, over="positions")
        values = np.concatenate([value(kit, tokens, "mlp", layer)[0] for tokens in references])
        constant = values.mean(0)
    found = patch_effects(
        kit, TINY, component="mlp", method="ablation", direction="noising", ablation=ablation
    )
    constant_mlp(kit, layer, constant)
    assert found.scores[0, layer, 0] == pytest.approx(score(kit, TINY.clean), abs=1e-4)


@pytest.mark.parametrize("component", ["head_output", "mlp", "mlp_hidden"])
def test_mean_ablation_puts_each_position_s_own_mean(tiny, component):
    ablation = Ablation("mean", REFERENCES)
    unit = {"head_output": {"head": 2}, "mlp_hidden": {"neuron": 3}}.get(component, {})
    part = CircuitPart(1, component, positions=(1, 4), **unit)
    found = patch_sets(
        tiny, TINY, [[part]], method="ablation", direction="noising", ablation=ablation
    )
    mean = np.mean([value(tiny, tokens, component, 1) for tokens in REFERENCES], axis=0)
    new = value(tiny, TINY.clean, component, 1).copy()
    if component == "head_output":
        new[:, 2, [1, 4]] = mean[:, 2, [1, 4]]
    elif component == "mlp_hidden":
        new[:, [1, 4], 3] = mean[:, [1, 4], 3]
    else:
        new[:, [1, 4]] = mean[:, [1, 4]]
    assert found.scores[0, 0] == pytest.approx(
        score(tiny, TINY.clean, edit(1, component, new)), abs=2e-5
    )


def test_resample_ablation_is_the_mean_over_the_references(tiny):
    part = CircuitPart(0, head=1)
    scores = [
        score(
            tiny,
            TINY.clean,
            edit(0, "head_output", value(tiny, tokens, "head_output", 0)[:, [1]], heads=(1,)),
        )
        for tokens in REFERENCES
    ]

    def ablated(**choices) -> float:
        ablation = Ablation("resample", REFERENCES, **choices)
        found = patch_sets(
            tiny, TINY, [[part]], method="ablation", direction="noising", ablation=ablation
        )
        return found.scores[0, 0]

    assert ablated() == pytest.approx(np.mean(scores), abs=1e-5)
    drawn = [ablated(samples=1, seed=seed) for seed in range(12)]
    for each in drawn:
        assert min(abs(np.array(scores) - each)) < 1e-5
    assert len(np.unique(np.round(drawn, 4))) > 1
    assert ablated(samples=5, seed=3) == ablated(samples=5, seed=3)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("kind", ["mean", "resample"])
def test_without_references_the_other_prompt_of_one_example_is_the_reference(tiny, kind, direction):
    ablated = patch_effects(
        tiny, TINY, method="ablation", ablation=Ablation(kind), direction=direction
    )
    patched = patch_effects(tiny, TINY, direction=direction)
    np.testing.assert_allclose(ablated.effects, patched.effects, atol=1e-6)


def test_by_default_all_examples_of_a_length_are_references(tiny):
    other = replace(TINY, clean=REFERENCES[0], corrupted=REFERENCES[1])
    tasks = [TINY, SHORTER, other]
    found = patch_effects(
        tiny,
        tasks,
        component="mlp",
        method="ablation",
        direction="noising",
        ablation=Ablation("mean"),
    )
    mean = np.mean([value(tiny, t.corrupted, "mlp", 0) for t in (TINY, other)], axis=0)
    assert found.scores[0, 0, 0] == pytest.approx(
        score(tiny, TINY.clean, edit(0, "mlp", mean)), abs=2e-5
    )
    alone = patch_effects(tiny, SHORTER, component="mlp", direction="noising")
    np.testing.assert_allclose(found.scores[1], alone.scores[0], atol=1e-5)


# --- several examples ------------------------------------------------------------------------


def test_examples_are_measured_each_by_itself_and_their_effects_averaged(tiny):
    tasks = [TINY, SHORTER]
    together = patch_effects(tiny, tasks)
    alone = [patch_effects(tiny, task) for task in tasks]
    np.testing.assert_array_equal(together.scores, np.concatenate([a.scores for a in alone]))
    np.testing.assert_allclose(together.effects, np.mean([a.effects for a in alone], 0), atol=1e-6)
    assert together.clean_scores == [score(tiny, TINY.clean), pytest.approx(alone[1].clean_score)]
    assert together.clean_score == pytest.approx(np.mean(together.clean_scores))
    assert together.corrupted_score == pytest.approx(np.mean(together.corrupted_scores))
    assert together.positions is None
    assert alone[1].positions == [[0, 1, 2, 3]]


def test_raw_scores_are_those_that_effects_are_made_of(tiny):
    found = patch_effects(tiny, TINY, component="attention", positions="each")
    assert found.scores.shape == (1, 2, 6)
    shares = (found.scores[0] - found.corrupted_score) / (found.clean_score - found.corrupted_score)
    np.testing.assert_allclose(found.effects, shares, atol=1e-6)


# --- several answers -------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "logsumexp"])
def test_several_answers_are_pooled_before_the_difference(tiny, pooling):
    task = replace(TINY, answer=[7, 40, 2], distractor=[11, 3], pooling=pooling)
    pool = {"mean": np.mean, "logsumexp": lambda each: np.log(np.exp(each).sum())}[pooling]
    logits = forward(tiny, [TINY.clean]).logits[0, -1].astype(np.float64)
    found = patch_effects(tiny, task)
    expected = pool(logits[[7, 40, 2]]) - pool(logits[[11, 3]])
    assert found.clean_score == pytest.approx(expected, abs=1e-5)
    if pooling == "logsumexp":
        probabilities = np.exp(logits) / np.exp(logits).sum()
        ratio = probabilities[[7, 40, 2]].sum() / probabilities[[11, 3]].sum()
        assert found.clean_score == pytest.approx(np.log(ratio), abs=1e-5)


def test_one_answer_in_a_list_is_that_answer(tiny):
    one = patch_effects(tiny, TINY)
    for pooling in ("mean", "logsumexp"):
        listed = replace(TINY, answer=[7], distractor=[11], pooling=pooling)
        np.testing.assert_allclose(patch_effects(tiny, listed).effects, one.effects, atol=1e-5)


# --- nothing else sees these passes ----------------------------------------------------------


def test_registered_hooks_capture_nothing_of_internal_passes(tiny):
    hook = tiny.register_activation_hook(ActivationHookSpec("*", "head_output", "watch"))
    assert hook
    try:
        patch_effects(tiny, TINY)
        patch_effects(tiny, TINY, method="attribution_patching")
        patch_sets(
            tiny, TINY, [[CircuitPart(0)]], method="ablation", ablation=Ablation("mean", REFERENCES)
        )
        assert not any(tiny.get_captured_activations().values())
    finally:
        tiny.clear_activation_hooks()


# --- what cannot be measured -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (CircuitPart(2), UnknownLayerError, "layers 0 to 1"),
        (CircuitPart(0, "query"), InvalidRequestError, "none of residual, attention"),
        (CircuitPart(0, head=4), UnknownHeadError, "heads 0 to 3"),
        (CircuitPart(0, head=-1), UnknownHeadError, "heads 0 to 3"),
        (CircuitPart(0, "mlp", head=0), UnknownHeadError, "no heads to select"),
        (CircuitPart(0, "mlp_hidden", neuron=48), UnknownNeuronError, "neurons 0 to 47"),
        (CircuitPart(0, neuron=0), UnknownNeuronError, "no neurons to select"),
        (CircuitPart(0, positions=(6,)), UnknownPositionError, "positions 0 to 5"),
        (CircuitPart(0, positions=()), InvalidRequestError, "at least one"),
    ],
)
def test_a_part_that_does_not_exist_is_refused_by_name(tiny, part, error, message):
    with pytest.raises(error, match=message):
        patch_sets(tiny, TINY, [[part]])


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"component": "mlp_hidden", "neurons": [48]}, UnknownNeuronError, "neurons 0 to 47"),
        ({"neurons": [0]}, UnknownNeuronError, "no neurons to select"),
        ({"heads": [4]}, UnknownHeadError, "heads 0 to 3"),
        ({"component": "mlp", "heads": [0]}, UnknownHeadError, "no heads to select"),
        ({"heads": [1, 1]}, InvalidRequestError, "given twice"),
        ({"layers": [0, 0]}, InvalidRequestError, "given twice"),
        ({"heads": []}, InvalidRequestError, "at least one"),
        ({"ablation": Ablation()}, InvalidRequestError, "activation_patching ablates nothing"),
    ],
)
def test_a_choice_of_units_that_does_not_exist_is_refused_by_name(tiny, choice, error, message):
    with pytest.raises(error, match=message):
        patch_effects(tiny, TINY, **choice)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (Ablation("guess"), "kind 'guess' is none"),
        (Ablation("mean", over="heads"), "over 'heads' is none"),
        (Ablation("zero", REFERENCES), "zero ablation has no references"),
        (Ablation("resample", over="positions"), "resample ablation is not over positions"),
        (Ablation("mean", samples=2), "mean ablation draws no samples"),
        (Ablation("resample", samples=0), "at least one sample"),
        (Ablation("mean", []), "at least one reference"),
        (Ablation("mean", [[96]]), "96 is outside the vocabulary"),
        (Ablation("mean", [[1, 2]]), "a reference has 2 tokens"),
        (Ablation("resample", [*REFERENCES, [1]]), "a reference has 1 tokens"),
    ],
)
def test_an_ablation_that_means_nothing_is_refused(tiny, ablation, message):
    with pytest.raises(InvalidRequestError, match=message):
        patch_effects(tiny, TINY, method="ablation", ablation=ablation)


@pytest.mark.parametrize(
    ("tasks", "choices", "message"),
    [
        ([], {}, "at least one"),
        ([TINY, SHORTER], {"positions": "each"}, "examples of one length, not \\[4, 6\\]"),
        ([replace(TINY, answer=[7, 7])], {}, "the token 7 is given twice"),
        ([replace(TINY, answer=[7, 11])], {}, "the same token, 11"),
        ([replace(TINY, answer=[])], {}, "at least one token"),
        ([replace(TINY, pooling="max")], {}, "pooling: 'max' is none of mean, logsumexp"),
        ([SHORTER, replace(TINY, corrupted=TINY.clean)], {}, "both prompts of example 1 score"),
    ],
)
def test_examples_that_cannot_be_measured_together_are_refused(tiny, tasks, choices, message):
    with pytest.raises(InvalidRequestError, match=message):
        patch_effects(tiny, tasks, **choices)


def test_an_example_without_a_reference_of_its_length_is_refused(tiny):
    ablation = Ablation("mean", REFERENCES)
    with pytest.raises(InvalidRequestError, match="an example has 4 tokens, and no reference"):
        patch_effects(tiny, [TINY, SHORTER], method="ablation", ablation=ablation)


def test_no_set_at_all_is_refused(tiny):
    with pytest.raises(InvalidRequestError, match="sets: at least one"):
        patch_sets(tiny, TINY, [])
