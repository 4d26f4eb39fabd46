"""How the blocks of NeuroScope's documents are read, mended and counted, without a system."""

from pathlib import Path

from benchmarks.code_blocks import CodeBlock, blocks_in, names_in
from benchmarks.documents import Ran, in_workspace, table
from benchmarks.edits import edited


def test_only_the_slips_that_are_named_are_mended() -> None:
    for code, mended in (
        ("a getNeuron: (layer: 6 neuron: 123).", "a getNeuron: (6 -> 123)."),
        ("p usingActivationsFrom: (layer: 8)", "p usingActivationsFrom: 8"),
        ("f trace: \n  from: 'a'\n  depth: 8", "f trace: 'a'\n  depth: 8"),
        (
            "Transcript show: 'at ', c size, ': ', c name asString; cr",
            "Transcript show: 'at ', c size asString, ': ', c name asString; cr",
        ),
        ("x := #(1 2), other. a foo: b bar: c", "x := #(1 2), other. a foo: b bar: c"),
    ):
        assert edited(code) == mended


def test_a_variable_that_a_block_declares_too_has_another_name_outside() -> None:
    code = "total := 0. rows do: [:row | | total | total := row]. total := total + 1"
    assert names_in(code).shadowed == {"total"}
    source = in_workspace(code, {"total"}, {"rows": "#(1 2)"})
    assert "totalOfDocument := totalOfDocument + 1" in source
    assert "[:row | | total | total := row]" in source
    assert "DocumentWorkspace at: 'total' put: totalOfDocument" in source


def test_blocks_are_counted_by_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "```smalltalk\nself load\n```\n```smalltalk\nA subclass: #B\n```\n```python\n1\n```\n"
    )
    one, other = blocks_in(tmp_path)
    assert (one.line, one.sends_to_self, one.defines) == (2, True, False)
    assert other.defines
    ran = [Ran(one, "runs"), Ran(other, "definition"), Ran(CodeBlock("b.md", 1, ""), "runs")]
    rows = [line.split("|")[1:5] for line in table(ran).splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["a.md", "2", "1", ""],
        ["b.md", "1", "1", ""],
        ["all", "3", "2", ""],
    ]
