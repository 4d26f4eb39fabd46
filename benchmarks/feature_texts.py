"""Varied English texts to train features on, from packages of Debian, as one .jsonl file.

Prose, aphorisms, dictionaries, manuals, in random order: a document is a part of a chapter, or
some quotations or entries.

    python -m benchmarks.feature_texts TEXTS.jsonl [--characters 2000000]

Fetches the packages with `apt-get download`; nothing is installed.
"""

import gzip
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click

PACKAGES = {
    "anarchism": "html",  # political prose
    "fortunes": "fortunes",  # quotations, jokes, poems
    "debian-handbook": "html",  # a manual
    "perl-doc": "pod",  # manuals with code
    "dict-jargon": "dictd",
    "dict-foldoc": "dictd",
    "dict-devil": "dictd",
    "wordnet-base": "wordnet",  # definitions and example sentences
}
SHORT_ENTRIES = {"fortunes", "dictd", "wordnet"}
ROOTS = {"debian-handbook": "en-US"}
LONG, ENTRIES, SHORT = 4_000, 2_000, 40
"""Characters after which a document ends with its paragraph, or its entry, and of the shortest."""


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--characters", default=2_000_000, show_default=True, help="Of a package, at most.")
@click.option("--seed", default=0, show_default=True)
def main(output: Path, characters: int, seed: int) -> None:
    """Write the documents of all packages in random order."""
    mixed: list[str] = []
    chance = random.Random(seed)
    for package, kind in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            _unpack(package, Path(folder))
            found = [text for text in READERS[kind](Path(folder), package) if len(text) >= SHORT]
        chance.shuffle(found)
        if kind in SHORT_ENTRIES:
            found = list(_documents(found, ENTRIES))
        taken, size = 0, 0
        while taken < len(found) and size < characters:
            size += len(found[taken])
            taken += 1
        mixed += found[:taken]
        click.echo(f"{package}: {taken} documents, {size} characters")
    chance.shuffle(mixed)
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in mixed)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _unpack(package: str, folder: Path) -> None:
    subprocess.run(["apt-get", "--quiet", "download", package], cwd=folder, check=True)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, folder / "files"], check=True)


def _html(folder: Path, package: str) -> Iterator[str]:
    for path in sorted(folder.rglob("*.html")):
        if ROOTS.get(package, "") in path.parts or package not in ROOTS:
            reader = _Paragraphs()
            reader.feed(path.read_text(encoding="utf-8", errors="replace"))
            yield from _documents(reader.paragraphs)


def _fortunes(folder: Path, package: str) -> Iterator[str]:
    for path in sorted((folder / "files/usr/share/games/fortunes").iterdir()):
        if path.suffix == "" and path.name != "ascii-art":
            for fortune in path.read_text(encoding="utf-8", errors="replace").split("\n%\n"):
                yield fortune.strip()


def _pod(folder: Path, package: str) -> Iterator[str]:
    for path in sorted(folder.rglob("*.pod")):
        text = path.read_text(encoding="utf-8", errors="replace")
        text = re.sub(r"^=\w+ ?", "", text, flags=re.MULTILINE)
        text = re.sub(r"[A-Z]<+ ?([^<>]*?) ?>+", r"\1", text)
        yield from _documents(text.split("\n\n"))


def _dictd(folder: Path, package: str) -> Iterator[str]:
    for path in sorted(folder.rglob("*.dict.dz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
        for entry in re.split(r"\n\n(?=\S)", text):
            yield re.sub(r"[{}]", "", re.sub(r"\n[ \t]+", "\n", entry)).strip()


def _wordnet(folder: Path, package: str) -> Iterator[str]:
    """Each definition with its word, and the sentences that show its use."""
    for path in sorted(folder.rglob("data.*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            fields, bar, gloss = line.partition(" | ")
            if bar:
                yield f"{fields.split()[4].replace('_', ' ')}: {gloss.strip()}"


READERS = {"html": _html, "fortunes": _fortunes, "pod": _pod, "dictd": _dictd, "wordnet": _wordnet}


def _documents(paragraphs: list[str], size: int = LONG) -> Iterator[str]:
    held: list[str] = []
    for paragraph in paragraphs:
        if paragraph.strip():
            held.append(paragraph.strip("\n"))
        if sum(map(len, held)) >= size:
            yield "\n\n".join(held)
            held = []
    if held:
        yield "\n\n".join(held)


class _Paragraphs(HTMLParser):
    """The paragraphs of a page, without what is not read."""

    BREAKS = frozenset({"p", "div", "h1", "h2", "h3", "h4", "li", "dd", "dt", "blockquote", "tr"})
    SILENT = frozenset({"script", "style", "head", "nav"})

    def __init__(self) -> None:
        super().__init__()
        self._words: list[str] = []
        self._silent = 0
        self.found: list[str] = []

    @property
    def paragraphs(self) -> list[str]:
        self._end()
        return self.found

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent += tag in self.SILENT
        if tag in self.BREAKS:
            self._end()

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in self.SILENT
        if tag in self.BREAKS:
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._words.append(data)

    def _end(self) -> None:
        text = " ".join("".join(self._words).split())
        if text:
            self.found.append(text)
        self._words = []


if __name__ == "__main__":
    main()
