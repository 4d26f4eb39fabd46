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
CELL, GAP = 8, 8


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


def png_pixels(data: bytes) -> np.ndarray:
    """The shades of a grey PNG of 8 bits, by the standard; a wrong checksum is an error."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, start = [], 8
    while start < len(data):
        (length,) = struct.unpack_from(">I", data, start)
        kind, body = data[start + 4 : start + 8], data[start + 8 : start + 8 + length]
        assert struct.unpack_from(">I", data, start + 8 + length) == (zlib.crc32(kind + body),)
        chunks.append((kind, body))
        start += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", chunks[0][1])
    assert form == [8, 0, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def test_the_cells_of_an_svg_carry_the_captured_weights(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    tokens = save_heatmap(system, engine, tmp_path / "heads.svg")
    picture = ElementTree.parse(tmp_path / "heads.svg").getroot()
    cells = [cell for cell in picture.iter(f"{SVG}rect") if cell.get("width") == "16"]
    weights = pattern(engine)
    found = [float(cell.get("fill-opacity")) for cell in cells]
    assert found == pytest.approx(weights.ravel(), abs=5.1e-5)
    assert [float(cell.findtext(f"{SVG}title")) for cell in cells] == found
    places = np.array([[int(cell.get(axis)) for axis in "yx"] for cell in cells])
    _, row, column = np.indices(weights.shape).reshape(3, -1)
    first = places.reshape(*weights.shape, 2)[:, :1, :1]
    offsets = (places.reshape(*weights.shape, 2) - first).reshape(-1, 2)
    assert np.array_equal(offsets, 16 * np.stack([row, column], -1))
    words = [text.text for text in picture.iter(f"{SVG}text")]
    labels = [json.loads(word) for word in words if word.startswith('"')]
    assert labels == tokens * (1 + len(weights))
    assert "head 8" in words


def test_the_pixels_of_a_png_are_the_captured_weights(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    path = tmp_path / "heads.png"
    path.write_bytes(bytes(200_000))  # what is there goes
    save_heatmap(system, engine, path)
    pixels = png_pixels(path.read_bytes())
    assert pixels.size > 65535  # more than one stored block
    weights = pattern(engine)
    shades = np.repeat(np.repeat(255 * (1 - weights), CELL, 1), CELL, 2)
    gap = np.full((shades.shape[1], GAP), 255)
    parts = [part for head in shades for part in (gap, head)][1:]
    assert np.abs(pixels - np.concatenate(parts, 1)).max() <= 0.51


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
    assert [float(box.get("fill-opacity")) for box in boxes] == [1, 0.4]
    (line,) = picture.iter(f"{SVG}line")
    late, early = boxes
    assert (int(line.get("x1")), int(line.get("y1"))) == (
        int(early.get("x")) + 80,
        int(early.get("y")) + 10,
    )
    assert (int(line.get("x2")), int(line.get("y2"))) == (
        int(late.get("x")),
        int(late.get("y")) + 10,
    )
    assert int(early.get("x")) < int(late.get("x"))
