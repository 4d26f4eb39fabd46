"""No text of a document is ever code: each place that text goes into has its own escaping."""

import re
from pathlib import Path

import pytest
from foreign import HOSTILE, client, document, operation

from bridge.generator import text
from bridge.generator.dialects import DIALECTS
from bridge.generator.errors import TemplateError
from bridge.generator.generate import render
from bridge.generator.sources import CHUNK
from bridge.generator.syntax import Parser


def test_text_in_a_comment_keeps_its_words_and_ends_nothing() -> None:
    source = f'go\n\t"{text.comment(HOSTILE)}"\n\t^1'.replace("!!", "!")
    Parser(source)
    assert source.count('"') % 2 == 0
    assert "Smalltalk at: #Pwned put: 42!" in source
    assert "e" in source.rsplit("'", 1)[-1]
    assert text.comment('Say "it\'s" [so]] } ! 🙂 done.') == (
        'Say ""it\'s"" [so]] } !! :slight_smile: done.'
    )


@pytest.mark.parametrize("content", ["plain", "it's", "", HOSTILE, "!", "\n", "é", "\ud800"])
def test_a_literal_is_one_expression_of_the_same_text(content: str) -> None:
    source = text.literal(content, "PetStoreConnection")
    Parser(f"go\n\t^{source}")
    assert source.isascii()
    assert "!" not in source
    if codes := re.search(r"#\(([\d ]*)\)", source):
        found = bytes(map(int, codes[1].split())).decode("utf-8", "surrogatepass")
    else:
        found = source[1:-1].replace("''", "'")
    assert found == content


@pytest.mark.parametrize("content", [HOSTILE, "*NeuroScope", "", "!", "pets & shops"])
def test_a_protocol_has_no_mark_that_means_something(content: str) -> None:
    found = text.protocol(content)
    assert found
    assert not re.search(r"['\"!*\]\[{}\n#]", found)
    assert found.isascii()


@pytest.mark.parametrize("content", ["a b", "a'", "", "1a", "a:b", "é"])
def test_what_is_no_name_is_an_error(content: str) -> None:
    for check in (text.name, text.symbol):
        with pytest.raises(TemplateError):
            check(content)
    assert text.symbol("at:put:") == "#at:put:"


def test_a_prose_chunk_is_one_chunk() -> None:
    chunks = CHUNK.findall(f"{text.prose(HOSTILE)}!")
    assert chunks[0].replace("!!", "!") == text.plain(HOSTILE)


def test_files_in_chunks_have_no_chunk_more_for_a_hostile_document(tmp_path: Path) -> None:
    def shape(content: str) -> dict[str, int]:
        entry = operation(operationId="go", summary=content, tags=[content])
        made = client(
            tmp_path,
            {
                **document({"/x": {"get": entry}}, servers=[{"url": content}]),
                "info": {"title": "T", "version": content, "description": content},
            },
        )
        files = render(made, tuple(DIALECTS.values())).files
        return {
            path: len(re.findall(r"^{ #category", found, re.M))
            if path.startswith("pharo/T")
            else len(CHUNK.findall(found))
            for path, found in files.items()
            if path.endswith(".st")
        }

    assert shape(HOSTILE) == shape("harmless")
