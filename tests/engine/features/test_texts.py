"""Texts are read piece by piece, from any place, and nothing of them is lost."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from features.reading import Characters, letters, reading_kit

from engine.errors import InvalidRequestError
from engine.features.documents import PIECE, TextFiles, TextList
from engine.features.windows import windows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text of paragraphs, one of a single long line of two-byte characters, and documents."""
    paragraphs = "\n\n".join(letters(300, seed).replace("\n", " ") for seed in range(90))
    (tmp_path / "a.txt").write_text(paragraphs)
    (tmp_path / "b.md").write_text("x" + "é" * 40_000)
    lines = [json.dumps({"text": "one"}), "", json.dumps("two\n")]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    (tmp_path / "d.png").write_bytes(b"\xff\xd8")
    return tmp_path


def test_documents_of_a_folder_are_all_of_its_texts_in_order(folder: Path):
    texts = TextFiles(folder)
    found = list(texts.documents())
    of_file = ["".join(each.text for each in found if each.place.file == file) for file in range(3)]
    expected = [(folder / name).read_text() for name in ("a.txt", "b.md")]
    assert of_file == [*expected, "onetwo\n"]
    assert [texts.name(file) for file in range(3)] == ["a.txt", "b.md", "c.jsonl"]
    paragraphs = [each for each in found if each.place.file == 0]
    assert len(paragraphs) > 2
    assert all(each.text.endswith("\n\n") for each in paragraphs[:-1])
    assert all(len(each.text) < 2 * PIECE for each in paragraphs)
    assert len([each for each in found if each.place.file == 1]) > 1


def test_documents_from_a_place_are_those_that_follow(folder: Path):
    texts = TextFiles(folder)
    found = list(texts.documents())
    for number, document in enumerate(found):
        assert list(texts.documents(document.place)) == found[number:]
    before = [texts.bytes_before(each.place) for each in found]
    assert all(one < other for one, other in pairwise(before))
    assert texts.nbytes > before[-1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine\n\xff", "a.txt, byte 5: no text in UTF-8"),
        ("a.jsonl", b'"one"\n{"words": 1}', "a.jsonl, byte 6: neither a string nor an object"),
        ("a.jsonl", b'"one"\n{', "a.jsonl, byte 6: no JSON"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError, match=message):
        list(TextFiles(tmp_path).documents())


def test_texts_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(InvalidRequestError, match=r"no file or folder .*nowhere"):
        TextFiles(tmp_path / "nowhere")
    with pytest.raises(InvalidRequestError, match=r"contains no file that ends in \.txt"):
        TextFiles(tmp_path)


def test_windows_have_all_tokens_and_begin_as_texts_do():
    kit = reading_kit()
    documents = [letters(25, 1), letters(3, 2), letters(10, 3)]
    found = list(windows(kit, TextList(documents), 11))
    assert all(each.tokens[0] == 1 and each.before == 1 for each in found)
    assert [len(each.tokens) for each in found] == [11, 11, 6, 4, 11]
    assert [each.first for each in found] == [0, 10, 20, 0, 0]
    tokens = [token for each in found for token in each.tokens[1:]]
    assert tokens == Characters().encode("".join(documents), add_special_tokens=False)
    for number, window in enumerate(found):
        assert list(windows(kit, TextList(documents), 11, window.end)) == found[number + 1 :]
    with pytest.raises(InvalidRequestError, match="1 tokens have no place"):
        next(windows(kit, TextList(documents), 1))
