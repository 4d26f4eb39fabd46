"""Runs the code blocks of a folder of Markdown documents, NeuroScope's own, in each Smalltalk here.

    python -m benchmarks.documents path/to/NeuroScope --model gpt2-small --model gpt2-medium
    python -m benchmarks.documents path/to/NeuroScope --model gpt2-small --system amber --each

A document is a workspace: its blocks are evaluated in their order in one image, unedited, and a
variable keeps the value that an earlier block assigned. A variable that none did, such as `model`
or `tokens`, has the value that `benchmarks/workspace_values.py` gives it, and so have the data sets
that the documents only name; a block that fails is evaluated once more with these values alone, and
without the hooks that are there, and, if a layer was missing, with the second model for the first.
Each `--model` is the folder of a model that the documents name. A block that fails as it is written
and runs after the mechanical edits of `benchmarks/edits.py` is counted apart. Files that a block
writes go to a folder that is removed.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.code_blocks import CodeBlock, blocks_in, names_in
from benchmarks.edits import edited
from benchmarks.workspace_values import DATA_SETS, VALUES
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from systems import Amber, OldSqueak, SmalltalkError, answer
from systems.squeak.machine import Squeak, SqueakError

HERE = Path(__file__).parent
OUTCOMES = (
    "runs",
    "edited",
    "definition",
    "browser",
    "syntax",
    "reader's own",
    "no class",
    "no selector",
    "error",
)
"""What a block comes to: it runs; it runs after the mechanical edits; it defines a class or
methods. Of those that fail: it is about a browser's canvas, storage, JavaScript or GPU; it is not
Smalltalk; it sends a message to self or to what is nil in a workspace, or uses a variable that
nothing assigned; it names a class that there is not, or sends a message that is not understood; it
fails otherwise. A block that names an absent class and sends to self besides would not run with the
class either."""
BROWSER_DOCUMENTS = ("CanvasRenderer", "WebGLTensor", "BrowserStorage", "JSInterface")
BROWSER_CODE = re.compile(
    r"webgl|\bcanvas\b|GPU|WebWorker|\bdocument\b|\bwindow\b|[bB]rowser(?!\s*:=)|JSInterface|"
    r"[mM]obile|[tT]ouch(Handlers|Gestures)|[mM]ouseHandlers|KeyboardShortcuts|[fF]ullscreen|"
    r"RenderingQuality|PerformanceIssues|RenderingPerformance|LevelOfDetail|\brender\w*: \[|"
    r"registerEventHandler|manageMemory|ParallelProcessing|StreamingMode|MemoryPerWorker"
)
"""What a block mentions that is about a browser, its GPU or its workers."""
LIMIT_SECONDS = 1800  # of a document in Squeak
EVALUATE = {
    "amber": "Compiler new evaluateExpression: source",
    "squeak": "Compiler evaluate: source",
}
DEFAULT = """!LMStudioRESTClient class methodsFor: 'documents'!
default
	^self baseUrl: '{}'! !
"""
PATTERNS = {
    "syntax": "^ParseError|Syntax error|ShadowingVariableError|InvalidAssignmentError",
    "reader's own": "(nil|UndefinedObject|a DoIt) does not understand|not understood.*nil",
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


def run(system: Amber | OldSqueak, blocks: Sequence[CodeBlock], models: Sequence[str]) -> list[Ran]:
    """What each block of one document comes to, with models of these names."""
    known = _known_globals(system, blocks)
    outcomes: dict[CodeBlock, Ran] = {}
    sources: dict[CodeBlock, list[list[str]]] = {}
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
            outcomes[block] = _failed(block, "reader's own", " ".join(unknown))
        elif absent:
            kind = "reader's own" if block.sends_to_self else "no class"
            outcomes[block] = _failed(block, kind, " ".join(absent))
        else:
            sources[block] = [
                list(_alternatives(code, assigned, models))
                for code in dict.fromkeys((block.code, edited(block.code)))
            ]
    for block, errors in zip(sources, _evaluated(system, list(sources.values())), strict=True):
        outcomes[block] = _outcome(block, errors)
    return [outcomes[block] for block in blocks]


def _outcome(block: CodeBlock, errors: Sequence[str]) -> Ran:
    """What a block came to, by the error of its code, and of its code after the edits."""
    if not errors[0]:
        return Ran(block, "runs")
    if not errors[-1]:
        return Ran(block, "edited", errors[0])
    return _failed(block, _kind(errors[0]), " / ".join(dict.fromkeys(errors)))


def _failed(block: CodeBlock, kind: str, reason: str) -> Ran:
    browser = any(part in block.document for part in BROWSER_DOCUMENTS) or BROWSER_CODE.search(
        block.code
    )
    return Ran(block, "browser" if browser else kind, reason)


def _alternatives(code: str, assigned: Set[str], models: Sequence[str]) -> Iterator[str]:
    """How a block is evaluated: after those before it, by itself, with another model."""
    yield in_workspace(code, assigned, VALUES)
    free = set(names_in(code).variables) - VALUES.keys()
    yield in_workspace(code, free, VALUES)
    for model in models[1:]:
        values = {name: value.replace(models[0], model) for name, value in VALUES.items()}
        yield in_workspace(code, free, values)


def in_workspace(code: str, assigned: Set[str], values: dict[str, str]) -> str:
    """The code with its variables declared, fetched, and kept after.

    Those that were assigned are fetched from the workspace if they are there, and else have their
    value of `values`, which others have at once.
    """
    ending = "OfDocument"
    names = names_in(code).renamed(ending)
    fetched = "".join(
        _fetched(variable, variable.removesuffix(ending), assigned, values)
        for variable in names.variables
    )
    variables = [*names.declared, *names.variables]
    kept = "".join(
        f"DocumentWorkspace at: '{name.removesuffix(ending)}' put: {name}. " for name in variables
    )
    return f"| {' '.join(variables)} | {fetched}\n{names.body.rstrip()}\n. {kept}'ran'"


def _fetched(variable: str, name: str, assigned: Set[str], values: dict[str, str]) -> str:
    fetch = f"{variable} := DocumentWorkspace at: '{name}'. " if name in assigned else ""
    if name in values:
        fetch += f"{variable} isNil ifTrue: [{variable} := {_expanded(values[name], values)}]. "
    return fetch


def _expanded(expression: str, values: dict[str, str]) -> str:
    """An expression in which the names of other values stand in braces."""
    return re.sub(r"<(\w+)>", lambda found: f"({_expanded(values[found[1]], values)})", expression)


def _evaluated(
    system: Amber | OldSqueak, sources: list[list[list[str]]], fresh: bool = True
) -> list[list[str]]:
    """The errors of each source, in an image that is `fresh`, or goes on.

    Amber's image lives on from one source to the next. Squeak's evaluates all of them in one run;
    a source that ends it is found by halving.
    """
    if isinstance(system, Amber) and len(sources) > 1:
        return [
            errors
            for index, source in enumerate(sources)
            for errors in _evaluated(system, [source], index == 0)
        ]
    if not sources:
        return []
    known = "".join(
        f"NeuroScopeCircuitDataset register: '{name}' examples: ({_expanded(examples, VALUES)}). "
        for name, examples in DATA_SETS.items()
    )
    expression = (
        f"DocumentWorkspace {'reset' if fresh else 'yourself'}. {known}"
        "NeuroScopePlatform current writeJson: (DocumentWorkspace "
        f"outcomesOf: (NeuroScopePlatform current readJson: {_quoted(json.dumps(sources))}) "
        f"evaluatedBy: [:source | {EVALUATE[system.name]}])"
    )
    try:
        if isinstance(system, OldSqueak):
            said = system.machine.evaluate(expression, *system.files, limit=LIMIT_SECONDS)
        else:
            said = system.run(expression)
        return [list(errors) for errors in json.loads(said)]
    except (SmalltalkError, SqueakError) as error:
        if len(sources) == 1:
            return [[str(error) or "the run ended"]]
        middle = len(sources) // 2
        return [
            *_evaluated(system, sources[:middle]),
            *_evaluated(system, sources[middle:]),
        ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _known_globals(system: Amber | OldSqueak, blocks: Sequence[CodeBlock]) -> set[str]:
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
    for outcome, pattern in PATTERNS.items():
        if re.search(pattern, error):
            return outcome
    return "error"


def table(ran: Sequence[Ran]) -> str:
    """A Markdown table: a row a document, how many blocks it has, and what they come to."""
    lines = [
        "| document | blocks | " + " | ".join(OUTCOMES) + " |",
        "| --- |" + " ---: |" * (len(OUTCOMES) + 1),
    ]
    for document in [*dict.fromkeys(each.block.document for each in ran), "all"]:
        of = [each for each in ran if document in (each.block.document, "all")]
        counts = Counter(each.outcome for each in of)
        cells = [str(counts[outcome] or "") for outcome in OUTCOMES]
        name = document.removeprefix("classes/").removesuffix("/COMMENT.md")
        lines.append(f"| {name} | {len(of)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
    folders = [model.resolve() for model in models]
    roots = ["--max-models", str(len(folders))]
    for model in folders:
        roots += ["--model-root", str(model.parent)]
    with (
        TemporaryDirectory() as scratch,
        chdir(scratch),
        running_engine(str(folders[0]), *roots) as client,
    ):
        for model in folders[1:]:
            client.load_model(str(model))
        for name in names or EVALUATE:
            system = _system(name, Path(scratch), client)
            ran = [
                one
                for blocks in documents.values()
                for one in run(system, blocks, [model.name for model in folders[:2]])
            ]
            for one in ran if each else ():
                if one.outcome not in ("runs", "definition"):
                    where = f"{one.block.document}:{one.block.line}"
                    click.echo(f"{system.name} {where} {one.outcome}: {one.reason}")
            click.echo(f"\n{system.name}\n\n{table(ran)}")


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
