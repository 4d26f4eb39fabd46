"""Examples are those that a search of all activations by hand finds."""

import math
from itertools import count
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from features.made import random_set
from features.reading import letters, reading_kit

from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.features.activations import TopK
from engine.features.bound import BoundSet
from engine.features.documents import TextFiles, TextList, Texts
from engine.features.examples.folder import ExampleFolder
from engine.features.examples.results import FeatureExamples, found, token_effects
from engine.features.examples.search import ExampleSearch
from engine.features.examples.settings import ExampleSettings
from engine.features.feature_set import FeatureSet
from engine.features.formats import sae_lens
from engine.features.windows import windows
from engine.runs.forward import forward
from engine.runs.kit import ModelKit
from engine.taps.points import Point

SETTINGS = ExampleSettings(top_k=3, before=4, after=2, context=20, sequences=3, skipped=2)
DOCUMENTS = [letters(count, count) for count in (75, 3, 40, 1, 64)]
RESIDUAL = Point(1, C.RESIDUAL)


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    return reading_kit()


@pytest.fixture(scope="module")
def autoencoder(kit: ModelKit) -> FeatureSet:
    return random_set(kit.info.hidden_size, RESIDUAL, activation=TopK(5))


def search(
    kit: ModelKit,
    feature_set: FeatureSet,
    texts: Texts | None = None,
    settings: ExampleSettings = SETTINGS,
    features: list[int] | None = None,
) -> ExampleSearch:
    (layer,) = BoundSet("set", feature_set, kit.structure).layers
    return ExampleSearch(kit, layer, texts or TextList(DOCUMENTS), settings, features)


def by_hand(kit: ModelKit, autoencoder: FeatureSet) -> tuple[list[list[int]], list[np.ndarray]]:
    """The tokens of each window, and its features ``[positions, features]``, in numpy."""
    weight, bias = np.array(autoencoder.encoder.weight), np.array(autoencoder.encoder.bias)
    tokens, features = [], []
    for window in windows(kit, TextList(DOCUMENTS), SETTINGS.context):
        hook = ActivationHookSpec("1", "residual", "here")
        (record,) = forward(kit, [window.tokens], [hook]).activations["here"]
        pre = record.data[0] @ weight.T + bias
        least = np.sort(pre, axis=-1)[:, [-5]]
        tokens.append(window.tokens)
        features.append(np.where(pre >= least, np.maximum(pre, 0), 0))
    return tokens, features


def test_examples_are_those_of_a_search_by_hand(kit: ModelKit, autoencoder: FeatureSet):
    searched = search(kit, autoencoder)
    assert searched.run()
    tokens, features = by_hand(kit, autoencoder)
    counted = [each[SETTINGS.skipped :] for each in features]
    every = np.concatenate(counted)
    assert (every > 0).any(axis=0).sum() > 20
    for result in found(kit, searched):
        column = every[:, result.feature]
        on = column[column > 0]
        assert result.on == len(on)
        assert result.density == pytest.approx(len(on) / len(column))
        assert result.mean == (pytest.approx(on.mean(), rel=1e-4) if len(on) else None)
        check_histogram(result, on)
        best = sorted(
            (
                (-each[:, result.feature].max(), number, int(each[:, result.feature].argmax()))
                for number, each in enumerate(counted)
                if len(each) and each[:, result.feature].max() > 0
            ),
        )[: SETTINGS.top_k]
        assert len(result.examples) == len(best)
        for example, (value, number, where) in zip(result.examples, best, strict=True):
            position = where + SETTINGS.skipped
            first = max(0, position - SETTINGS.before)
            around = slice(first, position + SETTINGS.after + 1)
            assert example.value == pytest.approx(-value, rel=1e-4)
            assert example.tokens == tokens[number][around]
            assert example.position == position - first
            assert example.texts == [f"{token} " for token in example.tokens]
            np.testing.assert_allclose(
                example.activations, features[number][around, result.feature], atol=1e-4
            )


def check_histogram(result: FeatureExamples, on: np.ndarray) -> None:
    assert sum(result.histogram) == len(on)
    for low, high, counted in zip(result.edges, result.edges[1:], result.histogram, strict=False):
        assert high == math.inf or low == 0 or high / low == pytest.approx(math.sqrt(2))
        assert counted == ((on >= low) & (on < high)).sum()


def test_examples_say_where_their_text_is(kit: ModelKit, autoencoder: FeatureSet):
    searched = search(kit, autoencoder)
    searched.run()
    for result in found(kit, searched):
        for example in result.examples:
            text = DOCUMENTS[int(example.file)][example.token :]
            token = example.tokens[example.position]
            assert kit.tokenizer.encode(text, add_special_tokens=False)[0] == token


def test_a_feature_by_itself_has_the_examples_that_it_has_among_all(
    kit: ModelKit, autoencoder: FeatureSet
):
    for wanted in (autoencoder, random_set(kit.info.hidden_size, RESIDUAL)):  # not local, local
        every, some = search(kit, wanted), search(kit, wanted, features=[31, 4])
        every.run()
        some.run()
        all_of_them = list(found(kit, every))
        for one in found(kit, some):
            other = all_of_them[one.feature]
            assert one.on == other.on
            assert [each.tokens for each in one.examples] == [
                each.tokens for each in other.examples
            ]
            np.testing.assert_allclose(
                [each.value for each in one.examples],
                [each.value for each in other.examples],
                rtol=1e-4,
            )


def test_promoted_tokens_are_those_of_the_unembedding(kit: ModelKit, autoencoder: FeatureSet):
    (layer,) = BoundSet("set", autoencoder, kit.structure).layers
    pairs = token_effects(kit, layer, [7, 8], 5)
    assert pairs is not None
    norm = np.array(kit.model.model.norm.weight)
    head = getattr(kit.model, "lm_head", kit.model.model.embed_tokens).weight
    for feature, (promoted, suppressed) in zip([7, 8], pairs, strict=True):
        logits = np.array(head) @ (np.array(autoencoder.decoder[feature]) * norm)
        order = np.argsort(-logits)
        assert [each.id for each in promoted] == order[:5].tolist()
        assert [each.id for each in suppressed] == order[::-1][:5].tolist()
        np.testing.assert_allclose([e.logit for e in promoted], logits[order[:5]], rtol=1e-3)
    inside = random_set(kit.structure.shapes[Point(0, C.MLP_HIDDEN)][-1], Point(0, C.MLP_HIDDEN))
    (layer,) = BoundSet("inside", inside, kit.structure).layers
    assert token_effects(kit, layer, [0], 5) is None


# --- in a folder -----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, autoencoder: FeatureSet) -> tuple[Path, TextFiles]:
    """A saved feature set, and texts."""
    sae_lens.save(autoencoder, tmp_path / "set")
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(DOCUMENTS):
        (tmp_path / f"texts/{number}.txt").write_text(text)
    return tmp_path / "set", TextFiles(tmp_path / "texts")


def test_a_search_that_was_stopped_goes_on_to_the_same_end(
    tmp_path: Path, kit: ModelKit, files: tuple[Path, TextFiles]
):
    whole, parts = ExampleFolder(tmp_path / "whole"), ExampleFolder(tmp_path / "parts")
    searched = whole.search(kit, *files, SETTINGS)
    told: list[tuple[int, int]] = []
    assert whole.run(searched, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {files[1].nbytes}
    whole.write(kit, searched)
    resumed, stops = False, 0
    while True:
        searched = parts.search(kit, *files, SETTINGS, resume=resumed)
        steps, resumed = count(), True
        if parts.run(searched, stopped=lambda: next(steps) >= 1):  # noqa: B023
            break
        stops += 1
    assert stops >= 3
    parts.write(kit, searched)
    assert list(parts.lines()) == list(whole.lines())


def test_a_search_is_of_one_thing(tmp_path: Path, kit: ModelKit, files: tuple[Path, TextFiles]):
    folder = ExampleFolder(tmp_path / "search")
    with pytest.raises(InvalidRequestError, match="there is no search in"):
        folder.search(kit, *files, SETTINGS, resume=True)
    folder.run(folder.search(kit, *files, SETTINGS))
    with pytest.raises(InvalidRequestError, match="is not empty"):
        folder.search(kit, *files, SETTINGS)
    with pytest.raises(InvalidRequestError, match=r"chosen: the search in .* began with None"):
        folder.search(kit, *files, SETTINGS, chosen=[3], resume=True)
    with pytest.raises(InvalidRequestError, match="features of layers 1; one of them is needed"):
        ExampleFolder(tmp_path / "other").search(kit, *files, SETTINGS, layer=0)
    with pytest.raises(InvalidRequestError, match="no window has more than 2 tokens"):
        search(kit, random_set(kit.info.hidden_size, RESIDUAL), TextList(["a"])).run()
    with pytest.raises(InvalidRequestError, match="top_k: 0 is not at least 1"):
        ExampleSettings(top_k=0)


def test_a_limited_search_stops_after_its_tokens(kit: ModelKit, autoencoder: FeatureSet):
    limited = ExampleSettings(**SETTINGS.to_dict() | {"tokens": 50})
    searched = search(kit, autoencoder, settings=limited)
    told: list[tuple[int, int]] = []
    searched.run(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (50, 50)
    assert searched.tokens == 60  # a pass of three windows of 20


def test_equal_values_keep_the_first(kit: ModelKit, autoencoder: FeatureSet):
    text = letters(19, 1)
    searched = search(kit, autoencoder, TextList([text] * 5))
    searched.run()
    kept = searched.tally.places[searched.tally.values[:, 0] > 0, :, 0]
    assert (kept == [0, 1, 2]).all()
    assert mx.array(kept).size
