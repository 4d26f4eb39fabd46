"""Pictures that an image saves, against Python's own captures."""

import json
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

TEXT = 'if (a < b && b > c) print "no"'
SVG = "{http://www.w3.org/2000/svg}"


def save_heatmap(system: System, engine: LMStudioNeuroScopeClient, path: Path) -> list[str]:
    """Save the attention of layer 5 over the text, and answer the texts of the tokens."""
    return ask(
        system,
        engine,
        f"| output | output := model capture: (model tokenizer encode: '{TEXT}') layers: #(5) "
        "components: #(#attentionWeights);; (AttentionVisualizer new createHeatmap: "
        "(output cachedActivations at: 5 -> #attentionWeights) tokens: output texts layer: 5) "
        f"saveAs: '{path}';; output texts",
    )


def pattern(engine: LMStudioNeuroScopeClient) -> np.ndarray:
    """Attention of layer 5 over the text: [heads, query, key]."""
    return capture(engine, TEXT, (5, "attention_pattern"))[5, "attention_pattern"][0]


def png_colors(data: bytes) -> np.ndarray:
    """The colours [height, width, 3] of a PNG with a palette, by the standard."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, start = {}, 8
    while start < len(data):
        (length,) = struct.unpack_from(">I", data, start)
        kind, body = data[start + 4 : start + 8], data[start + 8 : start + 8 + length]
        assert struct.unpack_from(">I", data, start + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        start += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [8, 3, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    pixels = np.empty((height, width), np.uint8)
    for y, (kind, *row) in enumerate(rows):
        pixels[y] = row if kind == 0 else pixels[y - 1] + np.array(row, np.uint8)
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    return palette[pixels]


def blues(shares: np.ndarray) -> np.ndarray:
    """The colours that ColorBrewer's Blues have for numbers from 0 to 1, mixed between five."""
    anchors = [(255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107)]
    places = np.linspace(0, 1, 5)
    return np.stack(
        [np.interp(shares, places, [anchor[part] for anchor in anchors]) for part in range(3)], -1
    )


def color_of(cell: ElementTree.Element) -> list[int]:
    return [int(part) for part in cell.get("fill")[4:-1].split(",")]


def cells_of(path: Path) -> list[ElementTree.Element]:
    """The cells of a heat map, one matrix after the other, row by row."""
    picture = ElementTree.parse(path).getroot()
    return [cell for cell in picture.iter(f"{SVG}rect") if cell.get("data-row")]


def test_the_cells_of_an_svg_show_the_captured_weights(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    tokens = save_heatmap(system, engine, tmp_path / "heads.svg")
    weights = pattern(engine)
    cells = cells_of(tmp_path / "heads.svg")
    colors = np.array([color_of(cell) for cell in cells]).reshape(*weights.shape, 3)
    assert np.abs(colors - blues(weights)).max() <= 2  # 200 steps
    titles = [cell.findtext(f"{SVG}title").rsplit(": ", 1) for cell in cells]
    assert [float(number) for _, number in titles] == pytest.approx(weights.ravel(), rel=6e-4)
    heads, rows, columns = np.indices(weights.shape).reshape(3, -1)
    labels = [json.dumps(token) for token in tokens]
    places = zip(heads, rows, columns, strict=True)
    assert [place for place, _ in titles] == [
        f"head {head}, {labels[row]}, {labels[column]}" for head, row, column in places
    ]
    words = [text.text for text in ElementTree.parse(tmp_path / "heads.svg").iter(f"{SVG}text")]
    assert [word for word in words if word.startswith('"')].count(labels[0]) == 9 + 3
    assert {"head 8", "1.000", "0.5000", "0"} <= set(words)


def test_the_pixels_of_a_png_are_those_of_the_svg(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    path = tmp_path / "heads.png"
    path.write_bytes(bytes(200_000))  # what is there goes
    save_heatmap(system, engine, path)
    save_heatmap(system, engine, tmp_path / "heads.svg")
    colors = png_colors(path.read_bytes())
    for cell in cells_of(tmp_path / "heads.svg"):
        x, y, width = (int(cell.get(name)) for name in ("x", "y", "width"))
        inside = colors[y + 1 : y + width - 1, x + 1 : x + width - 1]
        assert (inside == color_of(cell)).all()
    title = colors[5:16, 8:14]  # the a of attention, 5 pixels wide, in the font 6x13
    assert ["".join(" #"[not pixel.any()] for pixel in row) for row in title[5:]] == [
        " ###  ",
        "    # ",
        " #### ",
        "#   # ",
        "#  ## ",
        " ## # ",
    ]


def test_a_diagram_has_each_part_and_each_connection(system: System, tmp_path: Path) -> None:
    answer(
        system,
        "| circuit | circuit := Circuit name: 'a & b' components: {"
        "NeuroScopeCircuitComponent head: 6 layer: 18 score: 0.5. "
        "NeuroScopeCircuitComponent head: 1 layer: 5 score: 0.2} "
        "confidence: 0.75 evidence: 'none';; "
        "circuit pathway: {NeuroScopeCircuitConnection "
        "source: 'L5H1' target: 'L18H6' strength: 0.31};; "
        f"(CircuitVisualizer new createDiagram: circuit) saveAs: '{tmp_path}/c.svg';; 1",
    )
    picture = ElementTree.parse(tmp_path / "c.svg").getroot()
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert words == ["a & b (confidence 0.75)", "L18H6 0.5000", "L5H1 0.2000", "0.31"]
    boxes = [box for box in picture.iter(f"{SVG}rect") if box.get("width") == "80"]
    filled = [box for box in boxes if box.get("fill") != "none"]
    assert np.abs([color_of(box) for box in filled] - blues(np.array([1, 0.4]))).max() <= 2
    line = next(picture.iter(f"{SVG}line"))
    late, early = filled
    assert (int(line.get("x1")), int(line.get("y1"))) == (
        int(early.get("x")) + 80,
        int(early.get("y")) + 10,
    )
    assert (int(line.get("x2")), int(line.get("y2"))) == (
        int(late.get("x")),
        int(late.get("y")) + 10,
    )
    assert int(early.get("x")) < int(late.get("x"))
