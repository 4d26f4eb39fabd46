"""Run Smalltalk source in a real Squeak, headless, in a few hundredths of a second.

The machine and the image are Debian's, from the packages `squeak-vm` and `scratch`. The image is
Squeak 'MIT 0.9.4', older than many idioms. What is filed in must do without these:

Language
    Blocks are not closures: the arguments and temporaries of a block belong to its method.
    Safe: recursion through methods; blocks that are handed down and evaluated there (`do:`,
    `inject:into:`, sort blocks, `on:do:`, `ensure:`); `^` out of a block; evaluating a block after
    its method has returned. Not safe: a block that evaluates itself, directly or through others
    ('already being evaluated'); keeping two blocks made by one loop, for they share its variable.
    A block's argument with the name of a method's temporary is a syntax error.
    The blocks of `ifNotNil:` and its relatives take no argument. `_` means assignment. No `#[1 2]`.
    `#(true nil)` contains Symbols. `2e3` is an Integer. `<primitive: n>` follows the temporaries.
Library
    Of exceptions just what exceptions.st brings. Every failure but a division by zero and a
    message that is not understood is a plain Error.
    Understood once library.st is filed in: `isString do:separatedBy: squeakToUtf8 utf8ToSqueak`.
    Not understood: `isSymbol isArray isCharacter isDictionary isBlock isClass ifEmpty: notEmpty
    xor: displayString codePoint trimBoth substrings: join: format: sorted: count: allSatisfy: sum:
    detectMax: at:incrementBy: wordAt: utf8Encoded base64Encoded`.
    `1/3` is a Float, `0.0 negated` is 0.0. A String contains bytes; its lines end in CR.
    webclient.st and sunit.st replace as much of these packages as generated code uses.
"""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from systems.squeak.image import evaluating

IMAGE = Path("/usr/share/scratch/Scratch.image")
MACHINES = Path("/usr/lib/squeak")
HERE = Path(__file__).parent
LOADER = "(StandardFileStream readOnlyFileNamed: (Smalltalk getSystemAttribute: 2)) fileIn"
HEADLESS = ("-vm-display-null", "-vm-sound-null", "-mmap", "256m")


class SqueakError(Exception):
    """The run failed; the message is the image's own, with the innermost method activations."""


class SqueakTimeLimitError(SqueakError):
    """The run took longer than its time limit."""


class Squeak:
    """A Squeak whose every run starts from the same image and leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        """Write the image that evaluates what it is told into `folder`.

        Raises FileNotFoundError if the machine or the image is not installed.
        """
        self.machine = next(MACHINES.glob("*/squeakvm"), MACHINES / "squeakvm")
        for needed in (self.machine, IMAGE):
            if not needed.is_file():
                raise FileNotFoundError(f"{needed} is missing: apt-get install squeak-vm scratch")
        self.image = folder / "evaluating.image"
        self.image.write_bytes(evaluating(IMAGE.read_bytes(), LOADER))

    def evaluate(self, expression: str, *files: Path, limit: float = 20) -> str:
        """File in `files` in their order, evaluate `expression` and return its value as text.

        The expression may declare temporaries and hold several statements. A String is returned
        as it is, anything else as it prints; text is UTF-8 outside and bytes in the image.

        Raises SqueakError for an unhandled exception, a syntax error, a name that nothing
        declares, or too little memory (256 MB), and SqueakTimeLimitError after `limit` seconds.
        """
        sources = [path.resolve(strict=True) for path in (HERE / "exceptions.st", *files)]
        with TemporaryDirectory(prefix="squeak-") as folder:
            outcome, source = Path(folder, "outcome"), Path(folder, "expression")
            source.write_text(expression, encoding="utf-8")
            arguments = (self.image, HERE / "bootstrap.st", outcome, source, *sources)
            try:
                finished = subprocess.run(
                    [self.machine, *HEADLESS, *arguments],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=limit,
                )
            except subprocess.TimeoutExpired:
                raise SqueakTimeLimitError(f"no value after {limit} s: {expression}") from None
            if not outcome.is_file():
                raise SqueakError(
                    f"quit without a value: {finished.stderr.decode(errors='replace')}"
                )
            return value_of(outcome.read_bytes())


def value_of(outcome: bytes) -> str:
    kind, _, text = outcome.partition(b"\r")
    if kind != b"answer":
        raise SqueakError(text.decode("utf-8", "replace").replace("\r", "\n").rstrip())
    return text.decode("utf-8")
