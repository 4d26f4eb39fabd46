"""Faithfulness, completeness and minimality of a circuit are those that PyTorch's hooks measure."""

from functools import cache

import numpy as np
import pytest
import torch
from reference_models import reference_model, save
from tasks import TINY, score
from tiny import tiny_kit

from engine.analysis.ablation import Ablation
from engine.analysis.parts import CircuitPart
from engine.analysis.task import Task
from engine.analysis.verification import verify_circuit
from engine.errors import InvalidRequestError, UnknownHeadError, UnknownLayerError
from engine.interventions.intervention import Intervention
from engine.runs.kit import load_model

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS, HEADS, HEAD_DIM = 6, 4, 16
SHORTER = Task(clean=[5, 17, 8, 60], corrupted=[5, 17, 44, 60], answer=7, distractor=11)
TASKS = [TINY, SHORTER, Task([9, 2, 60, 33, 71, 5], [9, 2, 14, 33, 70, 5], 7, 11)]
HEADS_OF = [(0, 1), (3, 2), (5, 0)]
CIRCUIT = [CircuitPart(layer, head=head) for layer, head in HEADS_OF]
EVERY_HEAD = {(layer, head) for layer in range(LAYERS) for head in range(HEADS)}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same tiny llama in transformers and here."""
    model = reference_model("llama")
    return model, load_model(save(model, tmp_path_factory.mktemp("llama")), dtype="float32")


def projections(model):
    return [block.self_attn.o_proj for block in model.model.layers]


def head_outputs(model, tokens) -> list[torch.Tensor]:
    """What each layer's output projection is given, ``[1, seq, heads x head_dim]``."""
    seen = []
    handles = [
        each.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
        for each in projections(model)
    ]
    with torch.no_grad():
        model(torch.tensor([list(tokens)]))
    for handle in handles:
        handle.remove()
    return seen


def knocked_out(model, outputs_of, heads, kind: str) -> float:
    """F of the model without some heads: the mean score over the clean prompts, in PyTorch."""
    scores = []
    for task in TASKS:
        references = [t.corrupted for t in TASKS if len(t.corrupted) == len(task.clean)]
        outputs = [outputs_of[tuple(tokens)] for tokens in references]
        handles = []
        for layer, projection in enumerate(projections(model)):
            mean = torch.stack([output[layer] for output in outputs]).mean(0)

            def replace(module, args, layer=layer, mean=mean):
                changed = args[0].clone()
                for head in (head for place, head in heads if place == layer):
                    columns = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
                    changed[..., columns] = 0 if kind == "zero" else mean[..., columns]
                return (changed,)

            handles.append(projection.register_forward_pre_hook(replace))
        with torch.no_grad():
            logits = model(torch.tensor([list(task.clean)])).logits[0, -1]
        for handle in handles:
            handle.remove()
        scores.append(float(logits[task.answer] - logits[task.distractor]))
    return float(np.mean(scores))


@pytest.mark.parametrize("kind", ["mean", "zero"])
def test_the_three_criteria_are_those_of_their_definitions(both, kind):
    model, kit = both
    found = verify_circuit(kit, TASKS, CIRCUIT, ablation=Ablation(kind), subsets=4, seed=1)
    circuit = set(HEADS_OF)
    outputs = {tuple(t.corrupted): head_outputs(model, t.corrupted) for t in TASKS}

    @cache
    def without(heads: frozenset) -> float:
        return knocked_out(model, outputs, heads, kind)

    def f(kept) -> float:
        return without(frozenset(EVERY_HEAD - set(kept)))

    def parts(subset):
        return {HEADS_OF[number] for number in subset}

    assert found.model_score == pytest.approx(f(EVERY_HEAD), abs=1e-4)
    assert found.circuit_score == pytest.approx(f(circuit), abs=1e-4)
    assert found.empty_score == pytest.approx(f(()), abs=1e-4)
    assert found.faithfulness == pytest.approx(abs(f(EVERY_HEAD) - f(circuit)), abs=1e-4)
    assert found.faithfulness_share == pytest.approx(
        (f(circuit) - f(())) / (f(EVERY_HEAD) - f(())), rel=1e-3, abs=1e-4
    )
    assert [each.subset for each in found.completeness][:3] == [(0,), (1,), (2,)]
    assert len(found.completeness) > 3
    for each in found.completeness:
        removed = parts(each.subset)
        assert each.circuit_score == pytest.approx(f(circuit - removed), abs=1e-4)
        assert each.model_score == pytest.approx(f(EVERY_HEAD - removed), abs=1e-4)
        assert each.incompleteness == abs(each.circuit_score - each.model_score)
    assert found.incompleteness == max(each.incompleteness for each in found.completeness)
    assert [each.part for each in found.minimality] == [0, 1, 2]
    for each in found.minimality:
        part, removed = HEADS_OF[each.part], parts(each.subset)
        assert part not in removed
        assert each.score_with == pytest.approx(f(circuit - removed), abs=1e-4)
        assert each.score_without == pytest.approx(f(circuit - removed - {part}), abs=1e-4)
        assert each.minimality == abs(each.score_with - each.score_without)
        for tried in (set(), circuit - {part}):
            alone = abs(f(circuit - tried) - f(circuit - tried - {part}))
            assert each.minimality >= alone - 1e-4


def test_the_whole_model_is_a_faithful_and_complete_circuit(both):
    _, kit = both
    circuit = [CircuitPart(layer, head=head) for layer, head in sorted(EVERY_HEAD)]
    found = verify_circuit(kit, TASKS, circuit, subsets=2)
    assert found.faithfulness == pytest.approx(0, abs=1e-5)
    assert found.faithfulness_share == pytest.approx(1, abs=1e-5)
    assert found.incompleteness == pytest.approx(0, abs=1e-5)


def test_a_part_at_some_positions_leaves_the_others_ablated():
    kit = tiny_kit("llama", layer_types=["full_attention"] * 2)
    found = verify_circuit(
        kit, TINY, [CircuitPart(1, "mlp", positions=(-1,))], ablation=Ablation(), subsets=0
    )
    outside = [
        Intervention("0", "mlp", "ablation"),
        Intervention("1", "mlp", "ablation", positions=(0, 1, 2, 3, 4)),
    ]
    assert found.circuit_score == pytest.approx(score(kit, TINY.clean, *outside), abs=2e-5)
    everything = Intervention("*", "mlp", "ablation")
    assert found.empty_score == pytest.approx(score(kit, TINY.clean, everything), abs=2e-5)


def test_a_circuit_may_be_made_of_heads_and_neurons():
    kit = tiny_kit("llama", layer_types=["full_attention"] * 2)
    circuit = [CircuitPart(0, head=1), CircuitPart(1, "mlp_hidden", neuron=3)]
    found = verify_circuit(kit, TINY, circuit, ablation=Ablation(), subsets=0)
    outside = [
        Intervention("0", "head_output", "ablation", heads=(0, 2, 3)),
        Intervention("1", "head_output", "ablation"),
        Intervention("0", "mlp_hidden", "ablation"),
        Intervention("1", "mlp_hidden", "ablation"),
    ]
    without = [Intervention("*", name, "ablation") for name in ("head_output", "mlp_hidden")]
    assert found.empty_score == pytest.approx(score(kit, TINY.clean, *without), abs=2e-5)
    (first,) = [each for each in found.completeness if each.subset == (1,)]
    assert first.circuit_score == pytest.approx(score(kit, TINY.clean, *outside), abs=2e-5)


def test_random_subsets_are_those_of_their_seed(both):
    _, kit = both
    one, same, other = (
        [
            each.subset
            for each in verify_circuit(kit, TINY, CIRCUIT, subsets=3, seed=seed).completeness
        ]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("circuit", "error", "message"),
    [
        ([], InvalidRequestError, "at least one part"),
        ([CircuitPart(6)], UnknownLayerError, "layers 0 to 5"),
        ([CircuitPart(0, head=4)], UnknownHeadError, "heads 0 to 3"),
        ([CircuitPart(0, head=1)] * 2, InvalidRequestError, "given twice, or contains another"),
        (
            [CircuitPart(0), CircuitPart(0, head=1, positions=(2,))],
            InvalidRequestError,
            "given twice, or contains another",
        ),
        (
            [CircuitPart(0, head=1), CircuitPart(1, "attention")],
            InvalidRequestError,
            "attention is calculated from head_output",
        ),
        (
            [CircuitPart(0, "mlp"), CircuitPart(0, "residual")],
            InvalidRequestError,
            "residual contains",
        ),
    ],
)
def test_a_circuit_that_cannot_be_verified_is_refused(both, circuit, error, message):
    with pytest.raises(error, match=message):
        verify_circuit(both[1], TINY, circuit)


def test_less_than_no_subsets_are_refused(both):
    with pytest.raises(InvalidRequestError, match="subsets: -1"):
        verify_circuit(both[1], TINY, CIRCUIT, subsets=-1)
