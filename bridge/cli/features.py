"""`neuroscope-bridge features`: sparse features of a model's activations."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

ARCHITECTURES = ("topk", "batchtopk", "jumprelu", "standard", "transcoder")
TEXTS = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
INTERRUPTED = 130
"""The exit status of what Ctrl-C ended."""


@click.group()
def features() -> None:
    """Sparse autoencoders and transcoders: train them, see what their features stand for."""


@features.command()
@click.option("--model", default="smollm2", show_default=True, help="A folder, hub id or name.")
@click.option("--texts", type=TEXTS, required=True, help="A text file, .jsonl file or folder.")
@click.option("--output", type=FOLDER, required=True, help="The folder of the new feature set.")
@click.option("--layer", type=int, help="The layer whose activations are taken.")
@click.option("--component", help="What is taken of the layer.  [default: residual]")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="[default: topk]")
@click.option("--features", type=int, help="How many features.  [default: 4096]")
@click.option("--k", type=int, help="How many are on at a position.  [default: 32]")
@click.option("--tokens", type=int, help="How many tokens to train on.  [default: 1000000]")
@click.option("--context", type=int, help="Tokens in a window of text.  [default: 128]")
@click.option("--batch", type=int, help="Tokens in a step.  [default: 1024]")
@click.option("--buffer", type=int, help="Tokens that a batch is drawn from.  [default: 32768]")
@click.option("--sequences", type=int, help="Windows in a pass of the model.  [default: 16]")
@click.option("--skipped", type=int, help="First positions that are left out.  [default: 1]")
@click.option("--learning-rate", type=float, help="The highest one.  [default: 0.001]")
@click.option("--sparsity", type=float, help="Weight of the penalty of standard and jumprelu.")
@click.option("--dead-after", type=int, help="Tokens after which an unused feature is dead.")
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--checkpoint-every", type=int, default=500, show_default=True, help="Steps.")
@click.option("--resume", is_flag=True, help="Go on with the training in --output.")
def train(
    model: str,
    texts: Path,
    output: Path,
    checkpoint_every: int,
    resume: bool,
    **given: Any,
) -> None:
    """Train a feature set on a model's activations over texts, and write it as SAELens does.

    Ctrl-C saves what is there; the same command with --resume goes on, with the same result as if
    it had not been interrupted. Beside the features, OUTPUT has log.csv, training.svg and
    metrics.json.
    """
    from bridge.features.chart import training_chart
    from engine.errors import EngineError
    from engine.features.documents import TextFiles
    from engine.features.training.evaluation import evaluate
    from engine.features.training.settings import TrainingSettings
    from engine.features.training.training import Training, TrainingFolder
    from engine.runs.kit import load_model

    given = {name: value for name, value in given.items() if value is not None}
    if not resume and "layer" not in given:
        raise click.UsageError("--layer is needed")
    folder = TrainingFolder(output)
    try:
        read = TextFiles(texts)
        kit = load_model(model)
        if resume:
            settings = folder.resumed(read, given)
        else:
            settings = TrainingSettings(**given)
            folder.begin(kit, read, settings)
        training = Training(kit, read, settings, output)
        with _interruptible() as stopped, _bar(f"training {output.name}") as shown:
            done = training.run(
                checkpoint_every=checkpoint_every,
                report=lambda line: shown(line.tokens, settings.steps * settings.batch),
                stopped=stopped,
            )
        folder.chart.write_text(training_chart(folder.log), encoding="utf-8")
        if not done:
            click.echo(f"saved after {training.learner.step} steps; --resume goes on")
            raise SystemExit(INTERRUPTED)
        with _bar("measuring") as shown:
            metrics = evaluate(kit, training, progress=shown)
        training.finish()
        folder.write_metrics(metrics)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    for name, value in metrics.items():
        shown_value = "nothing to measure" if value is None else f"{value:,.4g}"
        click.echo(f"{name.replace('_', ' ')}: {shown_value}")
    click.echo(output)


@features.command()
@click.option("--features", "folder", type=FOLDER, required=True, help="A feature set's folder.")
@click.option("--texts", type=TEXTS, required=True, help="A text file, .jsonl file or folder.")
@click.option("--output", type=FOLDER, required=True, help="The folder of the examples.")
@click.option("--model", default="smollm2", show_default=True, help="A folder, hub id or name.")
@click.option("--layer", type=int, help="The layer, of a folder with features of several.")
@click.option("--feature", type=int, multiple=True, help="Only this one; may be repeated.")
@click.option("--top-k", type=int, help="Examples of a feature.  [default: 10]")
@click.option("--before", type=int, help="Tokens before each.  [default: 16]")
@click.option("--after", type=int, help="Tokens after each.  [default: 8]")
@click.option("--context", type=int, help="Tokens in a window of text.  [default: 128]")
@click.option("--sequences", type=int, help="Windows in a pass of the model.  [default: 16]")
@click.option("--skipped", type=int, help="First positions that do not count.  [default: 1]")
@click.option("--tokens", type=int, help="Stop after so many.  [default: all texts]")
@click.option("--resume", is_flag=True, help="Go on with the search in --output.")
def examples(
    folder: Path,
    texts: Path,
    output: Path,
    model: str,
    layer: int | None,
    feature: tuple[int, ...],
    resume: bool,
    **given: Any,
) -> None:
    """Find the texts in which features are on most, how often they are, and what they promote.

    Writes examples.jsonl, a feature a line, and pages for a browser beginning with index.html.
    Ctrl-C saves what is there; the same command with --resume goes on, with the same result as if
    it had not been interrupted.
    """
    from bridge.features.examples_page import write_pages
    from engine.errors import EngineError
    from engine.features.documents import TextFiles
    from engine.features.examples.folder import ExampleFolder
    from engine.features.examples.settings import ExampleSettings
    from engine.runs.kit import load_model

    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = ExampleSettings(**given)
        kit = load_model(model)
        found = ExampleFolder(output)
        search = found.search(
            kit, folder, TextFiles(texts), settings, layer, feature or None, resume=resume
        )
        with _interruptible() as stopped, _bar(f"reading {texts.name}") as shown:
            done = found.run(search, progress=shown, stopped=stopped)
        if not done:
            click.echo(f"saved after {search.tokens:,} tokens; --resume goes on")
            raise SystemExit(INTERRUPTED)
        found.write(kit, search)
        index = write_pages(found.lines(), output, folder.name)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    on = int((search.tally.on > 0).sum())
    click.echo(f"{on:,} of {len(search.features):,} features are on in {search.tokens:,} tokens")
    click.echo(index)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, asked between steps; pressed twice, it ends the program."""
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar in the terminal, and what it is to be called with: how much of how much is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeRemaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
