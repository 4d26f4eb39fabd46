"""`neuroscope-bridge features`: from texts to a trained set, and to pages of its examples."""

import csv
import json
import signal
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from features.reading import letters

from bridge.cli import main
from bridge.cli.features import INTERRUPTED
from engine.features.training.training import Training

SMALL = ["--features", "24", "--k", "3", "--tokens", "1280", "--batch", "128", "--buffer", "256"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    documents = [f"<b>&{letters(400, seed)}" for seed in range(6)]
    file.write_text("\n".join(map(json.dumps, documents)))
    return file


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["features", *map(str, words)])


@pytest.fixture(scope="module")
def trained(tiny_model: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "tiny-set"
    what = ["--model", tiny_model, "--texts", texts, "--output", folder]
    result = run("train", *what, "--layer", 1, *SMALL, "--context", 32)
    assert result.exit_code == 0, result.output
    metrics = json.loads((folder / "metrics.json").read_text())
    lines = dict(line.split(": ") for line in result.output.splitlines() if ": " in line)
    assert lines["features on"] == f"{metrics['features_on']:,.4g}"
    assert set(lines) == {name.replace("_", " ") for name in metrics}
    return folder


def test_the_chart_shows_each_line_of_the_log(trained: Path):
    rows = list(csv.DictReader((trained / "log.csv").open()))
    assert [row["step"] for row in rows] == ["1", "10"]
    drawn = ElementTree.parse(trained / "training.svg").getroot()
    curves = [each.attrib["points"].split() for each in drawn.iter(f"{SVG}polyline")]
    assert len(curves) == 3
    for points, name in zip(curves, ("unexplained", "features_on", "dead"), strict=True):
        places = [tuple(map(float, point.split(","))) for point in points]
        assert [x for x, _ in places] == pytest.approx([64, 640], abs=0.1)
        heights = [200 - y for _, y in places]
        first, last = (float(row[name]) for row in rows)
        assert heights[1] * first == pytest.approx(heights[0] * last, abs=1)


def test_what_was_interrupted_is_resumed(
    tiny_model: Path, texts: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "tiny-set"
    what = ["--model", tiny_model, "--texts", texts, "--output", folder]
    noted = Training._note

    def press(training: Training, *arguments) -> None:
        noted(training, *arguments)
        if training.learner.step == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Training, "_note", press)
    result = run("train", *what, "--layer", 1, *SMALL, "--context", 32)
    assert result.exit_code == INTERRUPTED
    assert "saved after 4 steps; --resume goes on" in result.output
    assert not (folder / "cfg.json").exists()
    monkeypatch.undo()
    result = run("train", *what, "--resume", "--k", 4)
    assert "k: the training in" in result.output
    assert run("train", *what, "--resume").exit_code == 0
    for name in ("cfg.json", "sae_weights.safetensors", "log.csv", "metrics.json"):
        assert (folder / name).read_bytes() == (trained / name).read_bytes(), name
    assert "is finished" in run("train", *what, "--resume").output


class Page(HTMLParser):
    """The texts of a page's examples, by feature, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.feature = ""
        self.in_example = False
        self.examples: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "section":
            self.feature = named["id"] or ""
            self.examples[self.feature] = []
        if tag == "li":
            self.examples[self.feature].append("")
        self.in_example = tag == "span" or (self.in_example and tag != "li")
        if tag == "a":
            self.links.append(named["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.in_example = self.in_example and tag != "span"

    def handle_data(self, data: str) -> None:
        if self.in_example:
            self.examples[self.feature][-1] += data


def test_pages_show_every_feature_with_the_texts_of_its_examples(
    tiny_model: Path, texts: Path, trained: Path, tmp_path: Path
):
    folder = tmp_path / "examples"
    what = ["--model", tiny_model, "--features", trained, "--texts", texts, "--output", folder]
    result = run("examples", *what, "--top-k", 2, "--context", 32)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]
    on = sum(line["on"] > 0 for line in lines)
    assert f"{on} of 24 features are on in 2,424 tokens" in result.output
    page = Page((folder / "features-0.html").read_text())
    for number, line in enumerate(lines):
        assert line["feature"] == number
        shown = page.examples[f"feature-{number}"]
        assert shown == ["".join(each["texts"]) for each in line["examples"]]
    assert any("<b>" in each for shown in page.examples.values() for each in shown)
    links = Page((folder / "index.html").read_text()).links
    assert links == [f"features-0.html#feature-{number}" for number in range(24)]
    assert "is not empty" in run("examples", *what).output


def test_what_is_missing_is_named(tiny_model: Path, texts: Path, trained: Path, tmp_path: Path):
    what = ["--model", tiny_model, "--texts", texts, "--output", tmp_path / "new"]
    assert "--layer is needed" in run("train", *what).output
    assert "the model has layers 0 to 2" in run("train", *what, "--layer", 3).output
    assert not (tmp_path / "new").exists()
    nothing = run("examples", *what, "--features", tmp_path)
    assert "has a feature set in a format of" in nothing.output
    unknown = run("examples", *what, "--features", trained, "--feature", 24)
    assert "feature 24" in unknown.output
