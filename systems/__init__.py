"""Smalltalk systems that the generated code is filed into and run in."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any, Protocol

from systems.squeak.machine import HERE as SQUEAK
from systems.squeak.machine import Squeak

HERE = Path(__file__).parent
GENERATED = HERE.parent / "smalltalk"
AMBER = ("env", f"AMBER={HERE}", "node", str(GENERATED / "amber" / "amber.js"))
"""Amber's runner, with the modules that are installed here."""
LIMIT_SECONDS = 240  # of one run: all SUnit tests of a class, on a machine that does other things


class SmalltalkError(Exception):
    """A run failed; the message is what the system said."""


class System(Protocol):
    """A Smalltalk with the packages of its dialect installed."""

    name: str

    def run(self, expression: str, *files: Path) -> str:
        """File in more files, evaluate an expression whose value is a String, and return that."""
        ...

    def run_with_tests(self, expression: str) -> str:
        """The same, with SUnit and the generated tests filed in."""
        ...


def answer(system: System, expression: str, platform: str = "NeuroScopePlatform") -> Any:
    """The value of an expression, by way of the JSON of a platform class.

    It may declare temporaries first; `;;` parts its statements, the last of which is the value.
    """
    declared = re.match(r"\s*\|[^|]*\|", expression)
    temporaries = declared[0] if declared else ""
    *statements, last = expression[len(temporaries) :].split(";;")
    body = ". ".join([*statements, f"{platform} current writeJson: ({last})"])
    return json.loads(system.run(f"{temporaries} {body}"))


class Amber:
    """Amber under Node: always there, for its packages are pinned beside this file.

    One process, with the packages filed in, evaluates all expressions; the tests are filed into it
    when they are first asked for. A run with more files has its own.
    """

    name = "amber"

    def __init__(self, folder: Path = GENERATED) -> None:
        if not (HERE / "node_modules").is_dir():
            subprocess.run(["npm", "ci", "--no-fund", "--no-audit"], cwd=HERE, check=True)
        self.files = sorted_packages(folder / self.name)
        self.tests = sorted_tests(folder / self.name)
        self._process: subprocess.Popen[str] | None = None
        self._tested: subprocess.Popen[str] | None = None

    def run(self, expression: str, *files: Path) -> str:
        if files:
            return checked([*AMBER, *self.files, *files, expression])
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [*AMBER, *map(str, self.files), "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._ask(self._process, expression)

    def run_with_tests(self, expression: str) -> str:
        if self._tested is None or self._tested.poll() is not None:
            for file in self.tests:
                text = file.read_text().replace("'", "''")
                self.run(f"Importer new import: '{text}' readStream. 'filed in'")
            self._tested = self._process
        return self.run(expression)

    def _ask(self, process: subprocess.Popen[str], expression: str) -> str:
        limit = Timer(LIMIT_SECONDS, process.kill)
        limit.start()
        try:
            process.stdin.write(f"{json.dumps(expression)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            raise SmalltalkError(f"no answer in {LIMIT_SECONDS} s: {expression}")
        said = json.loads(line)
        if "error" in said:
            raise SmalltalkError(said["error"])
        return said["answer"]


class GnuSmalltalk:
    """GNU Smalltalk, where `GST` names it or the path has it."""

    name = "gst"
    complaint = re.compile(r"^[^ ]+:\d+: ", re.M)

    def __init__(self, folder: Path = GENERATED) -> None:
        self.program = gst_program()
        self.folder = folder / self.name

    def run(self, expression: str, *files: Path) -> str:
        with TemporaryDirectory() as work:
            script, result = Path(work, "run.st"), Path(work, "result")
            script.write_text(
                f"{installer_in(self.folder)} installFrom: '{self.folder}'!\n"
                f"{installer_in(self.folder)} installTestsFrom: '{self.folder}'!\n"
                + "".join(f"FileStream fileIn: '{path}'!\n" for path in files)
                + "| answer |\n"
                f"answer := [{expression}] on: Error do: [:error |\n"
                "\tstderr nextPutAll: error class name , ': ' , error messageText; flush.\n"
                "\tObjectMemory quit: 1].\n"
                f"(FileStream open: '{result}' mode: FileStream write) nextPutAll: answer; close!\n"
            )
            checked(
                [self.program, "--no-user-files", "-q", self.folder / "install.st", script],
                complaint=self.complaint,
            )
            return result.read_text()

    def run_with_tests(self, expression: str) -> str:
        return self.run(expression)  # its installer has installed them


class OldSqueak:
    """Debian's Squeak, with what newer ones have filed in first."""

    name = "squeak"

    def __init__(self, machine: Squeak, folder: Path = GENERATED) -> None:
        self.machine = machine
        text = SQUEAK / "text.st"
        prefix = installer_in(folder / self.name).removesuffix("Installer")
        if prefix != "NeuroScope":
            foreign = folder / text.name
            foreign.write_text(text.read_text().replace("NeuroScope", prefix))
            text = foreign
        self.files = [
            SQUEAK / "library.st",
            SQUEAK / "webclient.st",
            *sorted_packages(folder / self.name),
            text,
        ]
        self.tests = [SQUEAK / "sunit.st", *sorted_tests(folder / self.name)]

    def run(self, expression: str, *files: Path) -> str:
        return self.machine.evaluate(expression, *self.files, *files, limit=LIMIT_SECONDS)

    def run_with_tests(self, expression: str) -> str:
        return self.run(expression, *self.tests)


class Cuis:
    """Cuis, where `CUIS` names a program for it.

    The program files in its arguments but the last into an image that has the packages WebClient
    and JSON, evaluates the last, and prints the value.
    """

    name = "cuis"

    def __init__(self, folder: Path = GENERATED) -> None:
        self.program = os.environ["CUIS"]
        self.files = sorted_packages(folder / self.name, ".pck.st")
        self.tests = sorted_tests(folder / self.name, ".pck.st")

    def run(self, expression: str, *files: Path) -> str:
        return checked([self.program, *self.files, *files, expression])

    def run_with_tests(self, expression: str) -> str:
        return self.run(expression, *self.tests)


def gst_program() -> str | None:
    return os.environ.get("GST") or shutil.which("gst")


def sorted_packages(folder: Path, ending: str = ".st") -> list[Path]:
    """The packages of a dialect in the order in which its installer files them in."""
    return _named_by_the_installer("packages", folder, ending)


def sorted_tests(folder: Path, ending: str = ".st") -> list[Path]:
    """The packages of tests of a dialect, in that order; none for a foreign document."""
    return _named_by_the_installer("testPackages", folder, ending)


def _named_by_the_installer(selector: str, folder: Path, ending: str) -> list[Path]:
    installer = (folder / "install.st").read_text()
    names = re.search(rf"^{selector}\n.*\n\t\^#\((.*)\)", installer, re.M)
    return [folder / f"{name}{ending}" for name in re.findall(r"'([^']+)'", names[1])]


def installer_in(folder: Path) -> str:
    """The class of a dialect's installer."""
    return re.search(r"subclass: #(\w+)", (folder / "install.st").read_text())[1]


def checked(command: list[Any], complaint: re.Pattern[str] | None = None) -> str:
    """Run a program and return its output; SmalltalkError if it failed or complained."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    if done.returncode or (complaint and complaint.search(done.stderr)):
        raise SmalltalkError(f"{done.stdout}\n{done.stderr}".strip())
    return done.stdout.removesuffix("\n")
