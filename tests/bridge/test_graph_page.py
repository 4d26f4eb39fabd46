"""The page of an attribution graph shows its nodes, and of a chosen one what made it and more."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.cli import main
from bridge.report.graph import GraphFileError, graph_page, read_graph

FEATURE, LOGIT = "1_40_2", "3_9_2"
MINUS = "\u2212"
PIECES = ["a", " b", "</script><img>"]


def a_node(node_id: str, kind: str, layer: str, position: int, **more: object) -> dict:
    return {
        "node_id": node_id,
        "feature": 0,
        "layer": layer,
        "ctx_idx": position,
        "feature_type": kind,
        "jsNodeId": node_id,
        "clerp": "",
        "influence": 0.5,
        "activation": None,
        "token_prob": 0.0,
        "is_target_logit": False,
    } | more


GRAPH = {
    "metadata": {"slug": "a-b", "scan": "tiny", "prompt_tokens": PIECES, "prompt": "a b"},
    "qParams": {},
    "nodes": [
        a_node("0_7_1", "cross layer transcoder", "0", 1, activation=2.0, influence=0.3),
        a_node(FEATURE, "cross layer transcoder", "1", 2, activation=1.25, influence=0.9),
        a_node("0_0_1", "mlp reconstruction error", "0", 1),
        a_node("E_5_0", "embedding", "E", 0),
        a_node("E_6_1", "embedding", "E", 1),
        a_node("E_8_2", "embedding", "E", 2),
        a_node(LOGIT, "logit", "3", 2, clerp='Output "c" (p=0.600)', token_prob=0.6)
        | {"is_target_logit": True},
    ],
    "links": [
        {"source": "0_7_1", "target": FEATURE, "weight": -0.5},
        {"source": "0_0_1", "target": FEATURE, "weight": 0.75},
        {"source": "E_8_2", "target": FEATURE, "weight": 0.125},
        {"source": FEATURE, "target": LOGIT, "weight": 1.5},
        {"source": "E_5_0", "target": LOGIT, "weight": 0.25},
    ],
}  # fmt: skip


SNAPSHOT = """
const seen = [];
function snapshot() {
  const texts = (query) => [...document.querySelectorAll(query)].map((each) => each.textContent);
  seen.push({
    heading: texts('#chosen h2')[0],
    inputs: texts('#inputs td'),
    outputs: texts('#outputs td'),
    edges: [...document.querySelectorAll('.edge')].map((each) => each.getAttribute('class')),
    nodes: Object.fromEntries([...document.querySelectorAll('g.node')].map((each) =>
      [each.dataset.node, [...each.classList, each.style.display]])),
  });
}
snapshot();
document.querySelector('[data-node="FEATURE"]').dispatchEvent(new MouseEvent('click'));
snapshot();
share.value = 0.4;
share.dispatchEvent(new Event('input'));
snapshot();
document.body.append(Object.assign(document.createElement('pre'),
  { id: 'seen', textContent: JSON.stringify(seen) }));
""".replace("FEATURE", FEATURE)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What Chromium shows: at first, after a click on a feature, and with less influence."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "graph.json").write_text(json.dumps(GRAPH))
    page = graph_page(read_graph(folder / "graph.json"))
    file = folder / "graph.html"
    ended = page.replace("</body>", f"<script>{SNAPSHOT}</script></body>")
    file.write_text(ended, encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "no Chromium: apt-get install chromium"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking"]
    command += [f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.S)
    assert found, dom
    return json.loads(html.unescape(found[1]))


def test_the_likeliest_token_is_chosen_first_and_every_node_is_drawn(shown):
    first, *_ = shown
    assert set(first["nodes"]) == {node["node_id"] for node in GRAPH["nodes"]}
    assert "chosen" in first["nodes"][LOGIT]
    assert "faint" in first["nodes"]["0_7_1"]
    at = "at 2 </script><img>"
    assert first["inputs"] == [f"layer 1, feature 40 {at}", "+1.50", "token a at 0", "+0.250"]
    assert first["edges"] == ["edge for", "edge for"]


def test_a_click_shows_what_made_a_node_and_what_it_makes(shown):
    _, clicked, _ = shown
    assert clicked["heading"] == "layer 1, feature 40"
    assert clicked["inputs"][1::2] == ["+0.750", f"{MINUS}0.500", "+0.125"]
    assert clicked["inputs"][0] == "layer 0, not explained at 1 ·b"
    assert clicked["outputs"] == ['Output·"c"·(p=0.600) at 2 </script><img>', "+1.50"]
    assert sorted(clicked["edges"]) == ["edge against", *["edge for"] * 3]


def test_less_influence_hides_nodes_and_their_edges(shown):
    *_, less = shown
    hidden = {name for name, how in less["nodes"].items() if "none" in how}
    assert hidden == {FEATURE, "0_0_1"}
    assert less["inputs"] == ["token a at 0", "+0.250"]


def test_the_page_asks_nothing_of_the_network(tmp_path: Path):
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    page = graph_page(read_graph(tmp_path / "graph.json"))
    assert not re.search(r"""(src|href)\s*=|url\(|@import|fetch\(|XMLHttp""", page)
    assert "<img>" not in page


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ([], "no metadata"),
        (GRAPH | {"nodes": [{"node_id": "x"}]}, "nodes without ctx_idx"),
        (GRAPH | {"links": [{"source": "9_9_9", "target": LOGIT, "weight": 1}]}, "9_9_9"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_by_what_it_misses(tmp_path: Path, broken, words):
    (tmp_path / "graph.json").write_text(json.dumps(broken))
    with pytest.raises(GraphFileError, match=words):
        read_graph(tmp_path / "graph.json")


def test_the_command_shows_a_graph_that_was_made_before(tmp_path: Path):
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    page = tmp_path / "page.html"
    run = CliRunner().invoke(main, ["graph", str(tmp_path / "graph.json"), "--page", str(page)])
    assert run.exit_code == 0, run.output
    assert LOGIT in page.read_text()
    for words in ([], ["--prompt", "a"], [str(page), "--prompt", "a", "--page", "b"]):
        assert CliRunner().invoke(main, ["graph", *words]).exit_code == 2
