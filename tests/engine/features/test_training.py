"""Training finds what was planted, by the gradients of its loss, and stops and goes on exactly."""

import json
from itertools import count
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch
from features.reading import letters, reading_kit

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.features.documents import TextFiles
from engine.features.feature_set import FeatureSet
from engine.features.formats import load_feature_sets
from engine.features.training.evaluation import evaluate
from engine.features.training.learner import Learner
from engine.features.training.log import read_log
from engine.features.training.objective import BANDWIDTH, outcome
from engine.features.training.scale import geometric_median
from engine.features.training.settings import TrainingSettings
from engine.features.training.trained import feature_set
from engine.features.training.training import Training, TrainingFolder
from engine.runs.kit import ModelKit
from engine.taps.points import Point

PLANTED, WIDTH, ON = 24, 16, 2


class Planted:
    """Values that are sums of few of many directions, and an offset, in a unit of their own."""

    def __init__(self, width: int = WIDTH):
        self._random = np.random.default_rng(3)
        directions = self._random.normal(size=(PLANTED, width))
        self.directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        self._offset = self._random.normal(size=width)

    def draw(self, rows: int) -> np.ndarray:
        order = np.argsort(self._random.random((rows, PLANTED)), axis=-1)
        sizes = np.zeros((rows, PLANTED))
        np.put_along_axis(sizes, order[:, :ON], self._random.uniform(1, 2, (rows, ON)), -1)
        return (7 * (sizes @ self.directions + self._offset)).astype(np.float32)


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(
        **{"layer": 1, "features": 32, "k": ON, "batch": 128, "buffer": 512, "tokens": 128 * 500}
        | {"learning_rate": 2e-2, "dead_after": 4000}
        | changes
    )


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "jumprelu", "standard"])
def test_training_recovers_a_planted_dictionary(architecture: str):
    planted = Planted()
    wanted = settings(architecture=architecture, sparsity=2.0)
    first = planted.draw(512)
    learner = Learner.begin(wanted, first, first)
    for _ in range(wanted.steps):
        rows = planted.draw(wanted.batch)
        learner.learn(rows, rows)
    trained = feature_set(learner, [Point(1, C.RESIDUAL)], "planted")
    cosines = planted.directions @ np.array(trained.decoder).T
    assert (cosines.max(axis=-1) > 0.9).all()
    rows = planted.draw(1000)
    left = rows - np.array(trained.reconstruct(mx.array(rows)))
    assert np.square(left).sum() < 0.1 * np.square(rows - rows.mean(axis=0)).sum()


def test_a_transcoder_learns_a_function_of_another_value():
    planted, wanted = Planted(), settings(architecture="transcoder")
    matrix = np.random.default_rng(4).normal(size=(WIDTH, 10)).astype(np.float32)
    first = planted.draw(512)
    learner = Learner.begin(wanted, first, first @ matrix)
    for _ in range(wanted.steps):
        rows = planted.draw(wanted.batch)
        learner.learn(rows, rows @ matrix)
    points = [Point(1, C.MLP, True), Point(1, C.MLP)]
    trained = feature_set(learner, points, "planted")
    rows = planted.draw(1000)
    target = rows @ matrix
    left = target - np.array(trained.reconstruct(mx.array(rows)))
    assert np.square(left).sum() < 0.25 * np.square(target - target.mean(axis=0)).sum()


def torch_loss(
    parameters: dict[str, torch.Tensor], rows: torch.Tensor, wanted: TrainingSettings, dead
) -> torch.Tensor:
    """The loss of an autoencoder as the papers write it."""
    w = parameters
    pre = (rows - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    positive = torch.relu(pre)
    penalty = torch.tensor(0.0)
    if wanted.architecture == "topk":
        values, indices = positive.topk(wanted.k)
        features = torch.zeros_like(pre).scatter(-1, indices, values)
    elif wanted.architecture == "batchtopk":
        values, indices = positive.flatten().topk(wanted.k * len(rows))
        features = torch.zeros(pre.numel()).scatter(0, indices, values).reshape(pre.shape)
    elif wanted.architecture == "standard":
        features = positive
        penalty = features @ w["W_dec"].norm(dim=-1)
        penalty = wanted.sparsity * penalty.mean() / rows.shape[-1]
    else:
        threshold = w["log_threshold"].exp()
        near = ((pre - threshold).abs() < BANDWIDTH / 2).float().detach()
        above = (pre > threshold).float()
        # its value is `above`; its gradient is that of a slope over the bandwidth
        step = above - (threshold - threshold.detach()) * near / BANDWIDTH
        features = positive * step
        penalty = wanted.sparsity * (step.sum(dim=-1).mean() / wanted.k - 1) ** 2
    error = rows - features @ w["W_dec"] - w["b_dec"]
    loss = error.square().sum() / (rows - rows.mean(0)).square().sum() + penalty
    if dead is not None:
        k = rows.shape[-1] // 2
        candidates = torch.where(dead, pre, -torch.inf)
        values, indices = candidates.topk(k)
        chosen = torch.zeros_like(pre).scatter(-1, indices, torch.relu(values))
        left = error.detach()
        share = (left - chosen @ w["W_dec"]).square().sum() / (left - left.mean(0)).square().sum()
        loss = loss + wanted.auxiliary * share * min(1.0, int(dead.sum()) / k)
    return loss


@pytest.mark.parametrize("with_dead", [False, True])
@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "jumprelu", "standard"])
def test_loss_and_gradients_are_those_of_pytorch(architecture: str, with_dead: bool):
    rows = Planted().draw(64)
    wanted = settings(architecture=architecture)
    learner = Learner.begin(wanted, rows, rows)
    rows = rows * learner.scale.inputs
    random = np.random.default_rng(1)
    parameters = {
        name: np.array(value) + 0.05 * random.normal(size=value.shape).astype(np.float32)
        for name, value in learner.parameters.items()
    }
    dead = random.random(wanted.features) < 0.5 if with_dead else None

    def loss(values: dict[str, mx.array]) -> mx.array:
        mask = None if dead is None else mx.array(dead)
        return outcome(values, mx.array(rows), mx.array(rows), wanted, dead=mask).loss

    found, gradients = mx.value_and_grad(loss)({n: mx.array(v) for n, v in parameters.items()})
    reference = {n: torch.tensor(v, requires_grad=True) for n, v in parameters.items()}
    mask = None if dead is None else torch.tensor(dead)
    expected = torch_loss(reference, torch.tensor(rows), wanted, mask)
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, tensor in reference.items():
        np.testing.assert_allclose(
            np.array(gradients[name]), tensor.grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_decoder_rows_keep_norm_1_and_the_rate_rises_and_falls():
    planted, wanted = Planted(), settings(tokens=128 * 20, warm_up=0.2, decay=0.5)
    first = planted.draw(512)
    learner = Learner.begin(wanted, first, first)
    rates = []
    for _ in range(wanted.steps):
        rates.append(learner.learning_rate / wanted.learning_rate)
        rows = planted.draw(wanted.batch)
        learner.learn(rows, rows)
    norms = np.linalg.norm(np.array(learner.parameters["W_dec"]), axis=-1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    expected = [min(1, (step + 1) / 4, (1 - step / 20) / 0.5) for step in range(20)]
    assert rates == pytest.approx(expected)


def test_what_was_trained_is_in_the_units_of_the_model():
    planted, wanted = Planted(), settings(tokens=128 * 5)
    first = planted.draw(512)
    learner = Learner.begin(wanted, first, first)
    for _ in range(wanted.steps):
        learner.learn(first[:128], first[:128])
    trained = feature_set(learner, [Point(1, C.RESIDUAL)], "planted")
    w = {name: np.array(value) for name, value in learner.parameters.items()}
    unit = np.sqrt(WIDTH) / np.linalg.norm(first, axis=-1).mean()
    pre = (first * unit - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    least = np.sort(pre, axis=-1)[:, [-ON]]
    features = np.where(pre >= least, np.maximum(pre, 0), 0)
    reconstruction = (features @ w["W_dec"] + w["b_dec"]) / unit
    x = mx.array(first)
    np.testing.assert_allclose(np.array(trained.encode(x)), features / unit, atol=1e-4)
    np.testing.assert_allclose(np.array(trained.reconstruct(x)), reconstruction, atol=1e-4)


def test_the_geometric_median_has_the_least_distances_and_ignores_an_outlier():
    rows = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    rows[0] = 1e4
    median = geometric_median(rows)
    total = np.linalg.norm(rows - median, axis=-1).sum()
    for axis in range(5):
        for step in (-0.05, 0.05):
            moved = median + step * np.eye(5)[axis]
            assert np.linalg.norm(rows - moved, axis=-1).sum() > total
    assert np.abs(median).max() < 0.5


# --- from texts ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    return reading_kit()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> TextFiles:
    folder = tmp_path_factory.mktemp("texts")
    for number in range(4):
        (folder / f"{number}.txt").write_text(letters(900, number))
    return TextFiles(folder)


def small(**changes) -> TrainingSettings:
    """Eight steps over texts that are read more than once."""
    return TrainingSettings(
        **{"layer": 1, "features": 48, "k": 4, "batch": 512, "tokens": 8 * 512, "buffer": 1024}
        | {"context": 33, "sequences": 4, "dead_after": 1000}
        | changes
    )


def trained_in(
    folder: Path, kit: ModelKit, texts: TextFiles, wanted: TrainingSettings, pause: int | None
) -> FeatureSet:
    """Train, stopped after each so many steps and begun again from the folder."""
    TrainingFolder(folder).begin(kit, texts, wanted)
    runs = 0
    while True:
        training = Training(kit, texts, TrainingFolder(folder).resumed(texts, {}), folder)
        steps = count()
        runs += 1
        if training.run(stopped=lambda: pause is not None and next(steps) >= pause):  # noqa: B023
            assert pause is None or runs == -(-wanted.steps // pause)
            return training.finish()


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "transcoder"])
def test_a_resumed_training_ends_as_one_that_was_never_stopped(
    tmp_path: Path, kit: ModelKit, texts: TextFiles, architecture: str
):
    component = "mlp" if architecture == "transcoder" else "residual"
    wanted = small(architecture=architecture, component=component)
    whole = trained_in(tmp_path / "whole", kit, texts, wanted, None)
    parts = trained_in(tmp_path / "parts", kit, texts, wanted, 3)
    for one, other in (
        (whole.decoder, parts.decoder),
        (whole.encoder.weight, parts.encoder.weight),
        (whole.encoder.bias, parts.encoder.bias),
        (whole.decoder_bias, parts.decoder_bias),
    ):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    assert read_log(tmp_path / "whole/log.csv") == read_log(tmp_path / "parts/log.csv")
    (loaded,) = load_feature_sets(tmp_path / "whole")
    assert (loaded.reads, loaded.writes) == (whole.reads, whole.writes)
    x = mx.random.normal((7, whole.d_in))
    np.testing.assert_allclose(
        np.array(loaded.reconstruct(x)), np.array(whole.reconstruct(x)), atol=1e-5
    )


def test_measures_are_of_held_out_text(tmp_path: Path, kit: ModelKit, texts: TextFiles):
    TrainingFolder(tmp_path).begin(kit, texts, small())
    training = Training(kit, texts, small(), tmp_path)
    trained_on = {tuple(window.tokens) for _, window in training.stream._training_windows()}
    training.run()
    held_out = list(training.stream.held_out())
    assert len(held_out) == 3
    assert not trained_on & {tuple(window.tokens) for window in held_out}
    metrics = evaluate(kit, training)
    rows = mx.array(training.stream.of_windows(held_out))
    left = rows - training.trained().reconstruct(rows)
    share = mx.square(left).sum() / mx.square(rows - rows.mean(axis=0)).sum()
    assert metrics["explained_variance"] == pytest.approx(1 - share.item(), abs=1e-4)
    assert metrics["held_out_positions"] == len(rows)
    assert metrics["features_on"] == pytest.approx(4, abs=0.01)


def test_a_folder_is_not_overwritten_and_what_it_began_with_is_kept(
    tmp_path: Path, kit: ModelKit, texts: TextFiles
):
    folder = TrainingFolder(tmp_path / "new")
    with pytest.raises(InvalidRequestError, match="there is no training in"):
        folder.resumed(texts, {})
    folder.begin(kit, texts, small())
    with pytest.raises(InvalidRequestError, match="is not empty"):
        folder.begin(kit, texts, small())
    Training(kit, texts, small(), folder.path).run(stopped=lambda: True)
    assert folder.resumed(texts, {"k": 4}) == small()
    with pytest.raises(InvalidRequestError, match=r"k: the training in .* began with 4, not 5"):
        folder.resumed(texts, {"k": 5})
    other = tmp_path / "other.txt"
    other.write_text("abc")
    with pytest.raises(InvalidRequestError, match="has 3 bytes of text"):
        folder.resumed(TextFiles(other), {})
    assert json.loads((folder.path / "training.json").read_text())["model"] == "tiny"
    with pytest.raises(InvalidRequestError, match="no window to train on"):
        Training(kit, TextFiles(other), small(), tmp_path).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gated"}, "architecture: 'gated' is none of topk"),
        ({"k": 49}, "k: 49 is not at most the 48 features"),
        ({"tokens": 100}, "tokens: 100 is not at least the 512 of a step"),
        ({"buffer": 600}, "buffer: 600 is not at least two times 512"),
        ({"decay": 0.99}, "decay: 0.99 is not at most 1"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 is not more than 0"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict, message: str):
    with pytest.raises(InvalidRequestError, match=message):
        small(**changes)
