"""Amber in a real browser: calls wait there too, and bytes arrive unharmed."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import numpy as np
import pytest
from neuroscope import capture
from streams import slow_server

from bridge.client import LMStudioNeuroScopeClient
from systems import GENERATED, HERE, LIMIT_SECONDS, Amber
from systems.pages import Site, running, shown

BYTES = bytes(range(256)) * 4
PACKAGES = ("NeuroScope-Connection", "NeuroScope-Bridge")
VIEWS = (*PACKAGES, "NeuroScope-Core", "NeuroScope-Views")


class AmberSite(Site):
    """The page and Amber, the packages, an API that answers what it is sent, and a letter box."""

    def translate_path(self, path: str) -> str:
        root = GENERATED if path.startswith("/amber/") else HERE
        return str(root / path.split("?")[0].lstrip("/"))

    def do_GET(self) -> None:  # noqa: N802 - named by http.server
        if self.path == "/bytes":
            self.reply(200, BYTES)
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 - the same
        if self.path == "/answer":
            return super().do_POST()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/tokenize":
            return self.reply(200, json.dumps({"text": body["text"]}, ensure_ascii=False).encode())
        return self.reply(422, json.dumps({"error": {"message": "no layer 99"}}).encode())


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the page's site."""
    Amber()
    with running(AmberSite) as address:
        yield address


def browse(
    site: str,
    expression: str,
    download: Path | None = None,
    packages: tuple[str, ...] = PACKAGES,
) -> str:
    """What the page posts for an expression that answers a String, or a Promise of one.

    Waits for the file `download`, if one is named, whose folder the browser downloads to.
    """
    files = ",".join(f"/amber/{package}.st" for package in packages)
    page = f"{site}/browser.html?{files}#{quote(expression)}"
    with shown(page, download.parent if download else None):
        said = AmberSite.answers.get(timeout=LIMIT_SECONDS)
        deadline = monotonic() + LIMIT_SECONDS
        while download and not download.exists() and monotonic() < deadline:
            sleep(0.05)
        return said


def test_a_call_waits_for_its_answer(site: str) -> None:
    expression = f"((LMStudioRESTClient baseUrl: '{site}') tokenize: 'caf\u00e9') at: #text"
    assert browse(site, expression) == "caf\u00e9"


def test_every_byte_arrives_as_it_was_sent(site: str) -> None:
    expression = (
        f"(((LMStudioConnection baseUrl: '{site}') send: 'GET' to: '/bytes') bytes "
        "inject: '' into: [:text :each | text , ' ' , each printString])"
    )
    assert browse(site, expression).split() == [str(byte) for byte in BYTES]


def test_a_file_is_downloaded(site: str, tmp_path: Path) -> None:
    expression = (
        "NeuroScopePlatform current "
        "write: (NeuroScopePlatform current bytesFrom: #(0 10 13 128 255)) "
        "toFile: 'saved.bin'. 'done'"
    )
    assert browse(site, expression, tmp_path / "saved.bin") == "done"
    assert (tmp_path / "saved.bin").read_bytes() == bytes([0, 10, 13, 128, 255])


def test_a_refused_call_is_an_error(site: str) -> None:
    expression = (
        f"[(LMStudioRESTClient baseUrl: '{site}') forward: 'x' hooks: #()] "
        "on: LMStudioUnprocessableError do: [:error | error messageText]"
    )
    assert browse(site, expression) == "no layer 99"


def test_a_promise_is_kept(site: str) -> None:
    expression = (
        f"((LMStudioPromisingClient baseUrl: '{site}') tokenize: 'text') "
        "then: [:answer | answer at: #text]"
    )
    assert browse(site, expression) == "text"


def test_a_promise_of_events_sees_each_before_the_next_is_sent(site: str) -> None:
    with slow_server() as (kind, base):
        expression = (
            f"| c all | c := LMStudioPromisingClient baseUrl: '{base}'. all := ''. "
            "(c events: [:each | each send: 'GET' to: '/chunked/three'] do: [:event | "
            "all := all , (event at: 'data'). c send: 'GET' to: '/seen/it']) "
            "then: [:answer | all]"
        )
        assert browse(site, expression) == "one \u00e9two \u00e9three \u00e9"
    assert [line.split()[0] for line in kind.log] == ["sent", "seen"] * 3


def test_no_answer_names_what_a_page_is_not_told(site: str) -> None:
    asked = "(({} baseUrl: 'http://127.0.0.1:9') tokenize: 'x')"
    waiting, promising = map(asked.format, ("LMStudioRESTClient", "LMStudioPromisingClient"))
    expression = (
        f"| said | said := [{waiting}] "
        "on: LMStudioConnectionError do: [:error | error messageText]. "
        f"{promising} catch: [:error | said , '|' , error messageText]"
    )
    for said in browse(site, expression).split("|", 1):
        assert said.startswith("no answer from http://127.0.0.1:9/v1/tokenize")
        assert "no server runs there" in said
        assert said.endswith(f"start it with --allow-origin {site}")


def test_clicks_on_a_lens_show_parts_and_switch_hooks(
    site: str, engine: LMStudioNeuroScopeClient
) -> None:
    text = "The cat <b> sat"
    token, source, summary, titles, ablated, off, problem = json.loads(
        browse(
            site,
            "| lens token click shown source summary titles ablated off | "
            "lens := InteractiveLens for: (TransformerModel remote: "
            f"(LMStudioRESTClient baseUrl: '{engine.base_url}')). "
            "lens onTokenClick: [:each | token := each at: #text]. "
            f"lens openOn: '{text}'. "
            "click := [:selector | (document querySelector: selector) click]. "
            "shown := [:selector | (document querySelector: selector) textContent]. "
            'click value: \'[data-do="token:"][data-with="1"]\'. '
            "click value: '.tree [data-with=\"6\"]'. "
            "click value: '.tree .selected + div'. "
            "source := shown value: '.expression'. summary := shown value: '.summary'. "
            "titles := (document querySelectorAll: 'svg title') length. "
            "click value: '[data-do=\"ablate\"]'. ablated := shown value: '.hooks span'. "
            "click value: '.hooks span'. off := shown value: '.summary'. "
            "click value: '.tree [data-with=\"6\"]'. click value: '[data-do=\"ablate\"]'. "
            "NeuroScopePlatform current writeJson: {token. source. summary. titles. ablated. "
            "off. shown value: '.problem'}",
            packages=VIEWS,
        )
    )
    residual = capture(engine, text, (4, "residual"))[4, "residual"]
    assert token == " cat"
    assert source == (
        f"(model captureUnwatched: '{text}' layers: #(4) components: #(#residual)) "
        "at: 4 at: #residual"
    )
    assert summary.startswith(f"ActivationTensor (1 {residual.shape[1]} 576)")
    norm = float(summary.rsplit("norm ", 1)[1])
    assert norm == pytest.approx(np.linalg.norm(residual), rel=1e-3)
    assert titles > residual.shape[1] * 200  # a cell for three of 576 numbers at most
    assert ablated == "[x] ablate L4 residual"
    assert off.rstrip().endswith("Kullback-Leibler divergence 0 nats")
    assert problem.startswith("a whole layer has no hook")
