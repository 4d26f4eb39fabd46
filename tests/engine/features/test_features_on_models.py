"""Features of a running model: captured, changed, and how well they stand for its values."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from features.made import random_cross_layer, random_set
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.captures.sparse import SparseActivation
from engine.components import ComponentType as C
from engine.errors import FeatureSetError, InterventionError, InvalidRequestError
from engine.features.activations import TopK
from engine.features.bound import BoundSet
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.feature_set import FeatureSet
from engine.features.hooks import FeatureHookSpec
from engine.features.interventions import FeatureIntervention
from engine.features.quality import measure
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit
from engine.taps.points import Point

OTHER = [each + 1 for each in PROMPT]
RESIDUAL, BEFORE = Point(1, C.RESIDUAL), Point(0, C.RESIDUAL, True)
MLP_IN, MLP_OUT = Point(0, C.MLP, True), Point(0, C.MLP)


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    kit = tiny_kit()
    mx.random.seed(1)
    for module in kit.model.modules():  # weights of norms that matter
        if type(module).__name__ == "RMSNorm":
            module.weight = mx.random.uniform(0.5, 1.5, module.weight.shape)
    return kit


@pytest.fixture(scope="module")
def values(kit: ModelKit) -> dict[str, np.ndarray]:
    """The model's own values, and its logits."""
    sides = {"capture_input": True, "capture_output": True}
    hooks = [
        ActivationHookSpec("*", "residual", **sides),
        ActivationHookSpec("*", "mlp", **sides),
        ActivationHookSpec("*", "head_output"),
        ActivationHookSpec("*", "residual_mid"),
    ]
    result = forward(kit, [PROMPT], hooks, logits="all")
    found = {
        f"{record.layer} {record.component}{' in' if record.is_input else ''}": record.data
        for records in result.activations.values()
        for record in records
    }
    return {**found, "logits": result.logits}


def bound(kit: ModelKit, feature_set: FeatureSet | CrossLayerTranscoder) -> BoundSet:
    return BoundSet("set", feature_set, kit.structure)


def residual_set(kit: ModelKit, **options) -> BoundSet:
    return bound(kit, random_set(kit.info.hidden_size, RESIDUAL, **options))


def encode(x: np.ndarray, feature_set: FeatureSet) -> np.ndarray:
    weight, bias = np.array(feature_set.encoder.weight), np.array(feature_set.encoder.bias)
    return np.maximum(x @ weight.T + bias, 0)


# --- captured ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "where"),
    [(RESIDUAL, "1 residual"), (BEFORE, "0 residual in"), (MLP_IN, "0 mlp in")],
)
def test_a_hook_on_a_set_captures_the_features_of_its_value(kit, values, reads, where):
    feature_set = random_set(kit.info.hidden_size, reads)
    result = forward(kit, [PROMPT], [FeatureHookSpec(bound(kit, feature_set))])
    (record,) = result.activations["set"]
    assert isinstance(record, SparseActivation)
    expected = encode(values[where], feature_set)
    assert record.shape == expected.shape
    assert (record.data != 0).all()
    np.testing.assert_allclose(record.dense(), expected, atol=1e-5)
    at = next(iter(record.positions_of_sequences()))[3]
    np.testing.assert_array_equal(at[0], np.nonzero(expected[0, 3])[0])


def test_heads_are_read_side_by_side(kit, values):
    z = values["0 head_output"]
    width = z.shape[1] * z.shape[3]
    feature_set = random_set(width, Point(0, C.HEAD_OUTPUT))
    result = forward(kit, [PROMPT], [FeatureHookSpec(bound(kit, feature_set))])
    flat = z.transpose(0, 2, 1, 3).reshape(1, len(PROMPT), width)
    expected = encode(flat, feature_set)
    np.testing.assert_allclose(result.activations["set"][0].dense(), expected, atol=1e-5)


def test_hook_normalized_is_the_norm_without_its_weight(kit, values):
    feature_set = replace(
        random_set(kit.info.hidden_size, MLP_IN, MLP_OUT), reads_before_norm_weight=True
    )
    result = forward(kit, [PROMPT], [FeatureHookSpec(bound(kit, feature_set))])
    x = values["0 residual_mid"]
    normalized = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(
        result.activations["set"][0].dense(), encode(normalized, feature_set), atol=1e-3
    )


@pytest.mark.parametrize("activation", [None, TopK(5)])
def test_features_depend_on_their_own_sequences_value_alone(kit, activation):
    hook = FeatureHookSpec(residual_set(kit, activation=activation))
    alone = forward(kit, [PROMPT], [hook]).activations["set"][0].dense()
    dense = ActivationHookSpec("1", "residual", hook_id="x")
    batch = forward(kit, [OTHER, PROMPT], [hook, dense], prefill_step_size=5).activations
    (encode_one,) = (each.encode for each in hook.resolved(kit.structure))
    value = replace(batch["x"][0], data=batch["x"][0].data[1:])
    np.testing.assert_array_equal(batch["set"][0].dense()[1], encode_one(value).dense()[0])
    np.testing.assert_allclose(batch["set"][0].dense()[1], alone[0], atol=1e-5)
    chosen = replace(hook, features=(7, 3), positions=(2, -1))
    record = forward(kit, [PROMPT], [chosen]).activations["set"][0]
    assert record.position_list == (2, len(PROMPT) - 1)
    few = np.zeros_like(alone[:, [2, -1]])
    few[:, :, [3, 7]] = alone[:, [2, -1]][:, :, [3, 7]]
    np.testing.assert_allclose(record.dense(), few, atol=1e-6)


def test_a_generation_captures_the_features_of_each_step(kit):
    spec = FeatureHookSpec(residual_set(kit))
    dense = ActivationHookSpec("1", "residual", hook_id="x")
    for _, activations in create_generator_with_activations(
        kit, PROMPT, [spec, dense], max_tokens=3
    ):
        (record,), (value,) = activations["set"], activations["x"]
        assert record.step == value.step
        np.testing.assert_allclose(
            record.dense(), encode(value.data, spec.bound.feature_set), atol=1e-5
        )


def test_each_layer_of_a_cross_layer_transcoder_is_a_hook(kit, values):
    across = random_cross_layer(kit.info.hidden_size, kit.structure.layers)
    spec = FeatureHookSpec(bound(kit, across))
    activations = forward(kit, [PROMPT], [spec]).activations
    assert list(activations) == ["set_layer_0", "set_layer_1"]
    expected = np.array(across.encode_layer(1, mx.array(values["1 mlp in"])))
    np.testing.assert_allclose(activations["set_layer_1"][0].dense(), expected, atol=1e-5)
    assert list(forward(kit, [PROMPT], [replace(spec, layer=1)]).activations) == ["set"]


# --- changed -----------------------------------------------------------------------------------


def changed_by_hand(kit, values, feature_set, changed: np.ndarray) -> np.ndarray:
    """The logits with ``(f' - f) @ W_dec`` added to the residual stream."""
    x = values["1 residual"]
    difference = changed - encode(x, feature_set)
    value = x + difference @ np.array(feature_set.decoder)
    by_hand = Intervention("1", "residual", "replacement", value=value)
    return forward(kit, [PROMPT], (), [by_hand], logits="all").logits


@pytest.mark.parametrize(
    ("operation", "parameters", "change"),
    [
        ("ablation", {}, lambda f: 0 * f),
        ("scaling", {"factor": 2.5}, lambda f: 2.5 * f),
        ("replacement", {"value": np.array([4.0])}, lambda f: 0 * f + 4),
        ("replacement", {"value": np.array([1.0, 2.0])}, lambda f: 0 * f + [1, 2]),
        ("addition", {"value": np.array([3.0])}, lambda f: f + 3),
    ],
)
@pytest.mark.parametrize("positions", [None, (3, -1)])
def test_a_change_of_features_keeps_the_error(
    kit, values, operation, parameters, change, positions
):
    change_set = residual_set(kit)
    feature_set = change_set.feature_set
    features = encode(values["1 residual"], feature_set)
    wanted = features.copy()
    where = list(range(len(PROMPT))) if positions is None else [3, len(PROMPT) - 1]
    wanted[:, where, 8], wanted[:, where, 2] = np.moveaxis(
        change(features[:, where][:, :, [8, 2]]), -1, 0
    )
    intervention = FeatureIntervention(
        change_set, operation, (8, 2), positions=positions, **parameters
    )
    result = forward(kit, [PROMPT], (), [intervention], logits="all")
    by_hand = changed_by_hand(kit, values, feature_set, wanted)
    np.testing.assert_allclose(result.logits, by_hand, atol=2e-5)
    assert not np.allclose(result.logits, values["logits"], atol=1e-3)


def test_a_transcoders_features_are_changed_where_it_writes(kit, values):
    feature_set = random_set(kit.info.hidden_size, MLP_IN, MLP_OUT)
    features = encode(values["0 mlp in"], feature_set)
    added = -features[:, :, [4]] * np.array(feature_set.decoder)[4]
    by_hand = Intervention("0", "mlp", "addition", value=added)
    ablation = FeatureIntervention(bound(kit, feature_set), "ablation", (4,))
    np.testing.assert_allclose(
        forward(kit, [PROMPT], (), [ablation], logits="all").logits,
        forward(kit, [PROMPT], (), [by_hand], logits="all").logits,
        atol=2e-5,
    )


def test_a_cross_layer_feature_is_changed_in_every_layer_that_it_writes(kit, values):
    across = random_cross_layer(kit.info.hidden_size, kit.structure.layers)
    features = np.array(across.encode_layer(0, mx.array(values["0 mlp in"])))
    by_hand = [
        Intervention(
            str(layer),
            "mlp",
            "addition",
            value=2 * features[:, :, [4]] * np.array(across.decoders[0])[4, layer],
        )
        for layer in range(2)
    ]
    scaling = FeatureIntervention(bound(kit, across), "scaling", (4,), layer=0, factor=3.0)
    np.testing.assert_allclose(
        forward(kit, [PROMPT], (), [scaling], logits="all").logits,
        forward(kit, [PROMPT], (), by_hand, logits="all").logits,
        atol=2e-5,
    )
    with pytest.raises(InterventionError, match="needs a layer, one of 0, 1"):
        forward(kit, [PROMPT], (), [replace(scaling, layer=None)])


def test_a_change_acts_in_each_pass_of_a_generation(kit):
    change_set = residual_set(kit)
    steer = FeatureIntervention(
        change_set, "addition", (6,), value=np.array([9.0]), positions="generated"
    )
    direction = 9.0 * np.array(change_set.feature_set.decoder)[[6]]
    by_hand = Intervention("1", "residual", "addition", value=direction, positions="generated")
    tokens = [
        [result.token for result, _ in steps]
        for steps in (
            create_generator_with_activations(kit, PROMPT, interventions=[each], max_tokens=6)
            for each in (steer, by_hand)
        )
    ]
    assert tokens[0] == tokens[1]


# --- refused -----------------------------------------------------------------------------------


def test_a_set_that_does_not_fit_says_what_is_wrong(kit):
    with pytest.raises(FeatureSetError, match="it reads 5 numbers a position, and the residual"):
        bound(kit, random_set(5, RESIDUAL))
    with pytest.raises(FeatureSetError, match="no value of residual of layer 9"):
        bound(kit, random_set(kit.info.hidden_size, Point(9, C.RESIDUAL)))
    with pytest.raises(FeatureSetError, match="has no one vector a position"):
        bound(kit, random_set(4, Point(0, C.ATTENTION_PATTERN)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"operation": "noise", "features": (1,)}, "'noise' of features is none of ablation"),
        ({"operation": "scaling", "features": (1,)}, "scaling of features needs factor"),
        ({"operation": "ablation"}, "ablation needs features"),
        ({"operation": "ablation", "features": (1, 1)}, "names one twice"),
    ],
)
def test_an_intervention_that_means_nothing_is_refused(kit, options, says):
    with pytest.raises(InvalidRequestError, match=says):
        FeatureIntervention(residual_set(kit), **options)


def test_an_intervention_on_what_is_not_there_is_refused(kit):
    change_set = residual_set(kit)
    for options, says in (
        ({"features": (40,)}, "there are features 0 to 39"),
        ({"features": (1,), "positions": (99,)}, "position 99 is outside this run"),
        ({"features": (1,), "layer": 0}, "has no layer 0; it has 1"),
    ):
        with pytest.raises(InterventionError, match=says):
            forward(kit, [PROMPT], (), [FeatureIntervention(change_set, "ablation", **options)])
    value = FeatureIntervention(change_set, "addition", (1, 2), value=np.ones(3))
    with pytest.raises(InterventionError, match="shape \\(3,\\) does not fit 2 features"):
        forward(kit, [PROMPT], (), [value])


# --- measured ----------------------------------------------------------------------------------


def losses(kit: ModelKit, *changes: Intervention) -> float:
    total = 0.0
    for tokens in (PROMPT, OTHER):
        logits = forward(kit, [tokens], (), changes, logits="all").logits[0].astype(np.float64)
        logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= logprobs[np.arange(len(tokens) - 1), tokens[1:]].sum()
    return total / (2 * (len(PROMPT) - 1))


def test_how_well_a_set_stands_for_the_models_values(kit):
    feature_set = random_set(kit.info.hidden_size, MLP_IN, MLP_OUT)
    done: list[tuple[int, int]] = []
    quality = measure(
        kit,
        bound(kit, feature_set),
        [PROMPT, OTHER],
        progress=lambda *each: done.append(each),
    )
    hook = ActivationHookSpec("0", "mlp", hook_id="x", capture_input=True, capture_output=True)
    records = forward(kit, [PROMPT, OTHER], [hook]).activations["x"]
    x, y = (r.data.reshape(-1, r.data.shape[-1]) for r in records)
    features = encode(x, feature_set)
    error = y - features @ np.array(feature_set.decoder) - np.array(feature_set.decoder_bias)
    (layer,) = quality.layers
    variance = ((y - y.mean(0)) ** 2).sum()
    assert layer.explained_variance == pytest.approx(1 - (error**2).sum() / variance, rel=1e-4)
    assert layer.mse == pytest.approx((error**2).mean(), rel=1e-4)
    assert layer.l0 == pytest.approx((features > 0).sum(-1).mean(), rel=1e-4)
    assert layer.active == pytest.approx((features > 0).any(0).mean(), rel=1e-4)
    assert quality.loss == pytest.approx(losses(kit), rel=1e-4)
    zero = losses(kit, Intervention("0", "mlp", "ablation"))
    mean = losses(kit, Intervention("0", "mlp", "replacement", value=y.mean(0)))
    assert quality.loss_zero == pytest.approx(zero, rel=1e-4)
    assert quality.loss_mean == pytest.approx(mean, rel=1e-4)
    recovered = (zero - quality.loss_reconstructed) / (zero - quality.loss)
    assert quality.loss_recovered == pytest.approx(recovered, rel=1e-3)
    assert done[-1] == (8, 8)


def test_the_loss_with_reconstructions_is_that_of_the_replaced_values(kit, values):
    feature_set = random_set(kit.info.hidden_size, RESIDUAL)
    quality = measure(kit, bound(kit, feature_set), [PROMPT])
    x = mx.array(values["1 residual"])
    value = np.array(feature_set.reconstruct(x))
    by_hand = Intervention("1", "residual", "replacement", value=value)
    logits = forward(kit, [PROMPT], (), [by_hand], logits="all").logits[0].astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -logprobs[np.arange(len(PROMPT) - 1), PROMPT[1:]].mean()
    assert quality.loss_reconstructed == pytest.approx(loss, rel=1e-5)
    with pytest.raises(InvalidRequestError, match="at least 2 tokens"):
        measure(kit, bound(kit, feature_set), [[3]])


def test_a_perfect_cross_layer_transcoder_loses_nothing(kit):
    """One feature a direction and sign, which decodes to that layer what it reads of it."""
    width = kit.info.hidden_size
    across = random_cross_layer(width, 2, 2 * width)
    eye = mx.concatenate([mx.eye(width), -mx.eye(width)])
    reads = tuple(Point(layer, C.MLP) for layer in range(2))
    encoders = tuple(
        replace(each, weight=eye, bias=mx.zeros(2 * width)) for each in across.encoders
    )
    first = mx.stack([eye, mx.zeros_like(eye)], axis=1)
    perfect = replace(
        across,
        reads=reads,
        encoders=encoders,
        decoders=(first, eye[:, None]),
        decoder_bias=mx.zeros((2, width)),
    )
    quality = measure(kit, bound(kit, perfect), [PROMPT])
    assert [each.explained_variance for each in quality.layers] == pytest.approx([1, 1])
    assert quality.loss_recovered == pytest.approx(1, abs=1e-4)
