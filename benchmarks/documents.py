"""Runs the code blocks of a folder of Markdown documents, NeuroScope's own, in each Smalltalk here.

    python -m benchmarks.documents path/to/NeuroScope --model gpt2-small --model gpt2-medium
    python -m benchmarks.documents path/to/NeuroScope --model gpt2-small --system amber --each

A document is a workspace: its blocks are evaluated in their order, unedited, and a variable keeps
the value that an earlier block assigned. A variable that none did, such as `model` or `tokens`, has
the value that `benchmarks/workspace_values.py` gives it; a block that fails is evaluated once more
with these values alone, and without the hooks that are there. Each `--model` is the folder of a
model that the documents name.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from benchmarks.code_blocks import CodeBlock, blocks_in, names_in
from benchmarks.workspace_values import VALUES
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from systems import Amber, OldSqueak, SmalltalkError, System, answer
from systems.squeak.machine import Squeak, SqueakError

HERE = Path(__file__).parent
OUTCOMES = ("runs", "definition", "syntax", "reader's own", "no class", "no selector", "error")
"""What a block comes to: it runs; it defines a class or methods; it is not Smalltalk; it sends a
message to self, which is nil in a workspace, or uses a variable that nothing assigned; it names a
class that there is not, or sends a message that is not understood; it fails otherwise."""
EVALUATE = {
    "amber": "Compiler new evaluateExpression: source",
    "squeak": "Compiler evaluate: source",
}
DEFAULT = """!LMStudioRESTClient class methodsFor: 'documents'!
default
	^self baseUrl: '{}'! !
"""
PATTERNS = {
    "syntax": "^ParseError|Syntax error",
    "reader's own": "(nil|UndefinedObject) does not understand|not understood.*nil",
    "no selector": "[Uu]nderst",
}
"""How an error is told, the first that it matches."""
LENIENT = """!HeadlessRun class methodsFor: 'documents'!
rejectCode: aString because: aReason at: aPosition
	self error: 'Syntax error: ' , aReason! !
"""
"""A syntax error ends the block, not the run."""


@dataclass(frozen=True)
class Ran:
    """What a block came to in a system, one of OUTCOMES, and why."""

    block: CodeBlock
    outcome: str
    reason: str = ""


def run(system: System, blocks: Sequence[CodeBlock]) -> list[Ran]:
    """What each block of one document comes to."""
    known = _known_globals(system, blocks)
    outcomes: dict[CodeBlock, Ran] = {}
    sources: dict[CodeBlock, tuple[str, str]] = {}
    assigned: set[str] = set()
    for block in blocks:
        if block.defines:
            outcomes[block] = Ran(block, "definition")
            continue
        names = names_in(block.code)
        assigned |= {
            name
            for name in (*names.variables, *names.declared)
            if re.search(rf"\b{name}\s*:=", block.code)
        }
        unknown = [name for name in names.variables if name not in assigned | VALUES.keys()]
        absent = [name for name in names.globals if name not in known]
        if unknown:
            outcomes[block] = Ran(block, "reader's own", " ".join(unknown))
        elif absent:
            outcomes[block] = Ran(block, "no class", " ".join(absent))
        else:
            sources[block] = (
                in_workspace(block.code, assigned),
                in_workspace(block.code, set(names.variables) - VALUES.keys()),
            )
    for block, error in zip(sources, _evaluated(system, list(sources.values())), strict=True):
        outcomes[block] = Ran(block, _kind(error), error)
    return [outcomes[block] for block in blocks]


def in_workspace(code: str, assigned: Set[str]) -> str:
    """The code with its variables declared, fetched, and kept after.

    Those that were assigned are fetched from the workspace if they are there, and else have the
    value of the table, which others have at once.
    """
    names = names_in(code)
    variables = [*names.declared, *names.variables]
    given = "".join(_fetched(name, name in assigned) for name in names.variables)
    kept = "".join(f"DocumentWorkspace at: '{name}' put: {name}. " for name in variables)
    return f"| {' '.join(variables)} | {given}\n{names.body.rstrip()}\n. {kept}'ran'"


def _fetched(name: str, assigned: bool) -> str:
    fetch = f"{name} := DocumentWorkspace at: '{name}'. " if assigned else ""
    if name in VALUES:
        fetch += f"{name} isNil ifTrue: [{name} := {_expanded(VALUES[name])}]. "
    return fetch


def _expanded(expression: str) -> str:
    """An expression in which the names of other values stand in braces."""
    return re.sub(r"<(\w+)>", lambda found: f"({_expanded(VALUES[found[1]])})", expression)


def _evaluated(system: System, sources: list[tuple[str, str]]) -> list[str]:
    """The error of each source, or nothing; sources that end the run are found by halving."""
    if not sources:
        return []
    expression = (
        f"DocumentWorkspace reset. NeuroScopePlatform current writeJson: (DocumentWorkspace "
        f"outcomesOf: (NeuroScopePlatform current readJson: {_quoted(json.dumps(sources))}) "
        f"evaluatedBy: [:source | {EVALUATE[system.name]}])"
    )
    try:
        return list(json.loads(system.run(expression)))
    except (SmalltalkError, SqueakError) as error:
        if len(sources) == 1:
            return [str(error) or "the run ended"]
        middle = len(sources) // 2
        return [
            *_evaluated(system, sources[:middle]),
            *_evaluated(system, sources[middle:]),
        ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _known_globals(system: System, blocks: Sequence[CodeBlock]) -> set[str]:
    names = sorted({name for block in blocks for name in names_in(block.code).globals})
    if not names:
        return set()
    asked = " ".join(f"'{name}'" for name in names)
    there = answer(
        system,
        f"#({asked}) collect: [:each | (NeuroScopePlatform current globalNamed: each asSymbol)"
        " notNil]",
    )
    return {name for name, here in zip(names, there, strict=True) if here}


def _kind(error: str) -> str:
    for outcome, pattern in {"runs": "^$", **PATTERNS}.items():
        if re.search(pattern, error):
            return outcome
    return "error"


def main_table(results: dict[str, list[Ran]]) -> Table:
    """A row a document: how many blocks it has, and how many run in each system, or why not."""
    table = Table("document", "blocks", *(f"{name}: {o}" for name in results for o in OUTCOMES))
    documents = list(dict.fromkeys(ran.block.document for ran in next(iter(results.values()))))
    for document in [*documents, "all"]:
        cells = []
        for ran in results.values():
            of = [each for each in ran if document in (each.block.document, "all")]
            counts = Counter(each.outcome for each in of)
            cells += [str(counts[outcome]) for outcome in OUTCOMES]
        table.add_row(document, str(len(of)), *cells)
    return table


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a model that the documents name. Repeatable.",
)
@click.option("--system", "names", multiple=True, type=click.Choice(list(EVALUATE)))
@click.option("--document", "part", default="", help="Only those whose path contains this.")
@click.option("--each", is_flag=True, help="Print each block that does not run, and why.")
def main(
    folder: Path, models: tuple[Path, ...], names: tuple[str, ...], part: str, each: bool
) -> None:
    documents: dict[str, list[CodeBlock]] = {}
    for block in blocks_in(folder):
        if part in block.document:
            documents.setdefault(block.document, []).append(block)
    roots = [option for model in models for option in ("--model-root", str(model.parent))]
    console = Console()
    results: dict[str, list[Ran]] = {}
    with TemporaryDirectory() as scratch, running_engine(str(models[0]), *roots) as client:
        for model in models[1:]:
            client.load_model(str(model))
        for name in names or EVALUATE:
            system = _system(name, Path(scratch), client)
            results[system.name] = [
                ran for blocks in documents.values() for ran in run(system, blocks)
            ]
            for ran in results[system.name] if each else ():
                if ran.outcome not in ("runs", "definition"):
                    where = f"{system.name} {ran.block.document}:{ran.block.line}"
                    console.print(f"{where} {ran.outcome}: {ran.reason}", soft_wrap=True)
    console.print(main_table(results))


def _system(name: str, folder: Path, client: LMStudioNeuroScopeClient) -> Amber | OldSqueak:
    """A system with the workspace filed in, and with the running engine as the usual server."""
    system = Amber() if name == "amber" else OldSqueak(Squeak(folder))
    default = folder / "default.st"
    default.write_text(DEFAULT.format(client.base_url))
    system.files += [default, HERE / "workspace.st"]
    if name == "squeak":
        lenient = folder / "lenient.st"
        lenient.write_text(LENIENT)
        system.files.append(lenient)
    return system


if __name__ == "__main__":
    main()
