"""Probes in an image, against numpy on the same numbers."""

import numpy as np
import pytest

from systems import System, answer


def test_a_probe_stands_where_the_regularised_loss_is_least(system: System) -> None:
    """At the least of a smooth convex loss its gradient is zero."""
    random = np.random.default_rng(0)
    inputs = np.round(random.normal(size=(24, 6)), 2)
    labels = np.where(inputs[:, 0] + 0.5 * inputs[:, 1] > 0, "up", "down")
    labels[3] = "level"
    penalty = 0.05
    rows = " ".join(f"#({' '.join(map(str, row))})" for row in inputs)
    names = " ".join(f"'{label}'" for label in labels)
    weights, biases, classes, accuracy, one, trained, loss = answer(
        system,
        f"| probe x training | x := ActivationTensor data: #({rows}) shape: #(24 6);; "
        f"probe := LinearProbe input: x labels: #({names}) regularization: {penalty};; "
        "training := probe train;; {probe weights data. probe biases. probe classes. "
        f"probe evaluate: x -> #({names}). probe predict: (x at: 3). "
        "training trainingAccuracy. training finalLoss}",
    )
    weight = np.array(weights).reshape(3, 6)
    extended = np.column_stack([inputs, np.ones(24)])
    losses = []
    for name, direction, bias in zip(classes, weight, biases, strict=True):
        w = np.append(direction, bias)
        errors = 1 / (1 + np.exp(-extended @ w)) - (labels == name)
        assert extended.T @ errors / 24 + penalty * w == pytest.approx(0, abs=1e-6)
        signs = np.where(labels == name, 1, -1)
        losses.append(np.log1p(np.exp(-signs * (extended @ w))).mean() + penalty / 2 * w @ w)
    assert loss == pytest.approx(sum(losses), rel=1e-5)
    scores = extended @ np.column_stack([weight, biases]).T
    predicted = np.array(classes)[scores.argmax(1)]
    assert accuracy == trained == pytest.approx((predicted == labels).mean())
    assert one == predicted[3]


def trained_by_numpy(
    inputs: np.ndarray, targets: np.ndarray, epochs: int, rate: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights, biases and loss of a softmax regression by descent on standardised features."""
    mean, deviation = inputs.mean(0), inputs.std(0)
    deviation = np.where(deviation == 0, 1, deviation)
    scaled = (inputs - mean) / deviation
    weights = np.zeros((targets.shape[1], inputs.shape[1]))
    biases = np.zeros(targets.shape[1])

    def probabilities() -> np.ndarray:
        powers = np.exp(scaled @ weights.T + biases)
        return powers / powers.sum(1, keepdims=True)

    for _ in range(epochs):
        errors = (probabilities() - targets) / len(inputs)
        weights -= rate * errors.T @ scaled
        biases -= rate * errors.sum(0)
    loss = -np.log((probabilities() * targets).sum(1)).mean()
    return weights / deviation, biases - weights / deviation @ mean, loss


def shuffled(count: int, seed: int) -> list[int]:
    """The order in which examples are taken: Fisher and Yates's, by Park and Miller's numbers."""
    order, state = list(range(count)), seed
    for place in range(count, 1, -1):
        state = state * 16807 % (2**31 - 1)
        other = state % place
        order[place - 1], order[other] = order[other], order[place - 1]
    return order


def test_a_probe_trained_in_epochs_is_the_one_that_numpy_trains(system: System) -> None:
    random = np.random.default_rng(1)
    inputs = np.round(random.normal(size=(22, 7)) * [1, 10, 0.1, 1, 3, 1, 0] + 2, 2)
    labels = np.array(["DET", "NOUN", "VERB"])[random.integers(3, size=22)]
    rows = " ".join(
        f"(ActivationTensor data: #({' '.join(map(str, r))}) shape: #(1 1 7))." for r in inputs
    )
    names = " ".join(f"'{label}'" for label in labels)
    classes, weights, biases, loss, shares, important, predicted = answer(
        system,
        f"| probe training x | x := {{{rows}}};; probe := LinearProbe new;; "
        "probe probeType: #classification;; "
        f"probe seed: 7;; probe trainingData: x labels: #({names}) validationSplit: 0.25 "
        "epochs: 60 learningRate: 0.2;; training := probe train;; "
        "{probe classes. probe getWeights data. probe biases. training finalLoss. "
        "{training trainingAccuracy. training validationAccuracy}. "
        "(probe analyzeFeatureImportance topK: 3) collect: [:f | {f index. f importance}]. "
        "x collect: [:each | probe predict: each]}",
    )
    last = 22 - 6  # of 22 a quarter, rounded half up, is 6
    order = shuffled(22, 7)
    inputs, labels = inputs[order], labels[order]
    predicted = [predicted[place] for place in order]
    assert classes == list(dict.fromkeys(labels[:last]))
    targets = np.eye(3)[[classes.index(label) for label in labels[:last]]]
    expected, shifts, least = trained_by_numpy(inputs[:last], targets, 60, 0.2)
    assert weights == pytest.approx(expected.ravel(), rel=1e-4, abs=1e-6)
    assert biases == pytest.approx(shifts, rel=1e-4)
    assert loss == pytest.approx(least, rel=1e-5)
    right = np.array(classes)[(inputs @ expected.T + shifts).argmax(1)] == labels
    assert shares == pytest.approx([right[:last].mean(), right[last:].mean()])
    assert np.array_equal(np.array(predicted) == labels, right)
    importance = np.linalg.norm(expected, axis=0) * inputs[:last].std(0)
    order = np.argsort(-importance)[:3]
    assert [index for index, _ in important] == order.tolist()
    assert [value for _, value in important] == pytest.approx(importance[order], rel=1e-4)
