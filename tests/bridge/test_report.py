"""The report page shows, in a browser, what the model did."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient
from bridge.report.collect import Contrast, collect
from bridge.report.page import page
from bridge.report.view import View, ViewFileError
from bridge.wire import from_record

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


TASK = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": " Mary", "distractor": " John"}


@pytest.fixture(scope="module")
def view(engine: LMStudioNeuroScopeClient) -> View:
    return collect(engine, CLEAN, Contrast(CORRUPTED, " Mary", " John"))


class Shown(HTMLParser):
    """What a browser shows of a page: cells by section, heads of the two pictures."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.section = ""
        self.tag = ""
        self.cells: dict[str, list[str]] = {}
        self.heads: dict[str, list[str]] = {}
        self.edges: list[str] = []
        self.feed(dom)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.tag = tag
        if tag == "section":
            self.section = named["id"]
        if "data-edge" in named:
            self.edges.append(named["data-edge"])
        if "data-head" in named:
            self.heads.setdefault(self.section, []).append(named["data-head"])

    def handle_data(self, data: str) -> None:
        if self.tag == "td":
            self.cells.setdefault(self.section, []).append(data)


@pytest.fixture(scope="module")
def shown(view: View, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("report")
    file = folder / "report.html"
    file.write_text(page(view), encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "no Chromium: apt-get install chromium"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking"]
    command += [f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Shown(dom.stdout)


def test_the_page_shows_every_head_of_every_layer(view: View, shown: Shown):
    expected = [f"{layer}.{head}" for layer in range(30) for head in range(9)]
    assert shown.heads["attention"] == expected


def test_the_top_row_of_the_lens_is_what_the_model_predicts(
    view: View, shown: Shown, engine: LMStudioNeuroScopeClient
):
    top = engine.forward(CLEAN, top_k=1)["top"][0][0]["text"]
    assert shown.cells["lens"][len(view.texts) - 1] == top.replace(" ", "·") == "·Mary"


def test_the_norms_shown_are_those_of_the_captured_stream(
    view: View, shown: Shown, engine: LMStudioNeuroScopeClient
):
    hook = {"layer_name": "29", "component": "residual"}
    record = engine.forward(CLEAN, [hook], activation_format="array")["activations"]
    stream = np.array(record["layer_29_residual"][0]["data"])[0]
    expected = [f"{norm:.1f}" for norm in np.linalg.norm(stream, axis=-1)]
    assert shown.cells["norms"][: len(expected)] == expected


def test_the_circuit_shows_the_heads_that_patching_finds(
    shown: Shown, engine: LMStudioNeuroScopeClient
):
    sweep = engine.patch_circuit(CLEAN, CORRUPTED, " Mary", " John", component="head_output")
    flat = np.abs(from_record(sweep["effects"], {})).ravel()
    expected = [f"{n // 9}.{n % 9}" for n in np.argsort(-flat, kind="stable")[:12]]
    assert shown.heads["circuit"] == expected


def test_the_strongest_edges_are_drawn_the_weakest_first(
    shown: Shown, engine: LMStudioNeuroScopeClient
):
    found = engine.score_edges(**TASK, top_n=40)["edges"]
    expected = [f"{each['source']} {each['destination']}" for each in reversed(found)]
    assert shown.edges == expected


def test_saliency_is_that_of_the_logit_difference(shown: Shown, engine: LMStudioNeuroScopeClient):
    target = {"kind": "logit_difference", "tokens": [" Mary"], "against": [" John"]}
    found = engine.gradients(target, CLEAN)["saliency"]
    expected = [f"{value:.2f}" for value in [*found["gradient_x_input"], *found["norm"]]]
    assert shown.cells["saliency"][: len(expected)] == expected


def test_the_page_asks_nothing_of_the_network(view: View):
    assert not re.search(r"""(src|href)\s*=|url\(|@import|fetch\(|XMLHttp""", page(view))


def test_a_saved_view_gives_the_same_page(view: View, tmp_path: Path):
    view.save(tmp_path / "view.safetensors")
    assert page(View.load(tmp_path / "view.safetensors")) == page(view)


def test_a_token_that_looks_like_markup_stays_text(view: View, tmp_path: Path):
    view.save(tmp_path / "view.safetensors")
    hostile = View.load(tmp_path / "view.safetensors")
    hostile.texts[0] = "</script><img>"
    assert "<img>" not in page(hostile)


def test_a_file_that_is_no_view_is_refused_by_name(tmp_path: Path):
    (tmp_path / "other").write_bytes(b"nothing of the kind")
    with pytest.raises(ViewFileError, match="other"):
        View.load(tmp_path / "other")


def test_half_a_contrast_is_refused():
    result = CliRunner().invoke(main, ["report", "--prompt", "a", "--corrupted", "b"])
    assert result.exit_code == 2
    assert "--answer, --distractor" in result.output
