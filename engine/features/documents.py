"""Texts on disk, read piece by piece: files of any size, never whole in memory.

A file that ends in ``.jsonl`` has one document a line: a string, or an object with a ``text``. Any
other file is text in UTF-8, of which a document is a piece of some thousand characters that ends
with a paragraph, where there are paragraphs.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from engine.errors import InvalidRequestError

SUFFIXES = (".txt", ".text", ".md", ".rst", ".jsonl")
"""Files of a folder that are read; a file that is named itself may be called anything."""
PIECE, LONGEST_PIECE = 8_000, 32_000
"""Bytes of a text from which on a piece ends with its paragraph, and with its line."""
LINE = 16_000
"""Bytes after which a line of text is cut."""


class Place(NamedTuple):
    """Where a document begins: which file of the texts, and at which byte of it."""

    file: int = 0
    offset: int = 0


START = Place()


@dataclass(frozen=True)
class Document:
    """A text, and where it begins."""

    text: str
    place: Place


class Texts(Protocol):
    """Documents in an order, `nbytes` of them in all, to begin with at any place."""

    @property
    def nbytes(self) -> int: ...

    def documents(self, start: Place = START) -> Iterator[Document]: ...

    def bytes_before(self, place: Place) -> int:
        """How many bytes lie before a place."""
        ...

    def name(self, file: int) -> str:
        """What the file of a place is called."""
        ...


class TextFiles:
    """The texts of a file, or of all files in a folder in the order of their paths.

    Raises InvalidRequestError if there are none.
    """

    def __init__(self, path: Path):
        self.path = path
        self.files = _files(path)
        self._sizes = [each.stat().st_size for each in self.files]

    @property
    def nbytes(self) -> int:
        """The size of all files."""
        return sum(self._sizes)

    def bytes_before(self, place: Place) -> int:
        """How many bytes lie before a place."""
        return sum(self._sizes[: place.file]) + place.offset

    def documents(self, start: Place = START) -> Iterator[Document]:
        """The documents from `start` on, read as they are asked for.

        Raises InvalidRequestError for what is no text in UTF-8, or no document in JSON.
        """
        for number in range(start.file, len(self.files)):
            path, name = self.files[number], self.name(number)
            read = _lines_of_json if path.suffix == ".jsonl" else _pieces
            with path.open("rb") as file:
                file.seek(start.offset if number == start.file else 0)
                for offset, text in read(file, name):
                    yield Document(text, Place(number, offset))

    def name(self, file: int) -> str:
        """A file's path in its folder."""
        path = self.files[file]
        return path.name if path == self.path else path.relative_to(self.path).as_posix()


class TextList:
    """Texts in memory, each a document; their places are numbered like files."""

    def __init__(self, texts: Sequence[str]):
        self._texts = texts
        self._sizes = [len(each.encode()) for each in texts]

    @property
    def nbytes(self) -> int:
        """The bytes of all texts in UTF-8."""
        return sum(self._sizes)

    def bytes_before(self, place: Place) -> int:
        """How many bytes lie before a place."""
        return sum(self._sizes[: place.file])

    def documents(self, start: Place = START) -> Iterator[Document]:
        """The documents from `start` on."""
        for number in range(start.file, len(self._texts)):
            yield Document(self._texts[number], Place(number, 0))

    def name(self, file: int) -> str:
        """The text's number."""
        return str(file)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidRequestError(f"texts: there is no file or folder {str(path)!r}")
    found = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES and each.is_file())
    if not found:
        kinds = ", ".join(SUFFIXES)
        raise InvalidRequestError(f"texts: {str(path)!r} contains no file that ends in {kinds}")
    return found


def _lines_of_json(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    offset = file.tell()
    while line := file.readline():
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                where = f"{name}, byte {offset}"
                raise InvalidRequestError(f"texts: {where}: no JSON: {error}") from error
            text = value.get("text") if isinstance(value, dict) else value
            if not isinstance(text, str):
                raise InvalidRequestError(
                    f"texts: {name}, byte {offset}: neither a string nor an object with a text"
                )
            yield offset, text
        offset = file.tell()


def _pieces(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    offset = file.tell()
    piece: list[bytes] = []
    size = 0
    while line := _line(file):
        piece.append(line)
        size += len(line)
        if size >= LONGEST_PIECE or (size >= PIECE and not line.strip()):
            yield offset, _decoded(b"".join(piece), name, offset)
            offset, piece, size = file.tell(), [], 0
    if piece:
        yield offset, _decoded(b"".join(piece), name, offset)


def _line(file: BinaryIO) -> bytes:
    """A line, or so much of it as ends with a whole character."""
    line = file.readline(LINE)
    if len(line) == LINE and not line.endswith(b"\n"):
        whole = len(line.decode(errors="ignore").encode())
        if len(line) - whole < 4:
            file.seek(whole - len(line), 1)
            line = line[:whole]
    return line


def _decoded(piece: bytes, name: str, offset: int) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"texts: {name}, byte {offset + error.start}: no text in UTF-8"
        ) from error
