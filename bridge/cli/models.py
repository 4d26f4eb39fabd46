"""`neuroscope-bridge models`: fetch the default model, see what is there."""

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
)


@click.group()
def models() -> None:
    """Models on this machine."""


@models.command()
@click.argument("name", type=click.Choice(["smollm2"]))
def pull(name: str) -> None:
    """Fetch a model into the cache; nothing is done if it is there."""
    from engine.errors import EngineError
    from engine.models.smollm2 import pull_smollm2, smollm2_folder

    if smollm2_folder().is_dir():
        click.echo(f"{name} is there already: {smollm2_folder()}")
        return
    with Progress(*COLUMNS) as bar:
        download = bar.add_task(name, total=None)
        try:
            folder = pull_smollm2(
                lambda here, total: bar.update(download, completed=here, total=total)
            )
        except (EngineError, OSError) as error:
            raise click.ClickException(str(error)) from error
    click.echo(folder)


@models.command("list")
def list_models() -> None:
    """Show the models that are there, by the names that other commands know them by."""
    from engine.models.stored import stored_models

    table = Table("model", "size", "folder", box=None)
    for model in stored_models():
        table.add_row(model.name, decimal(model.nbytes), str(model.folder))
    if not table.rows:
        click.echo("no model yet: neuroscope-bridge models pull smollm2")
    else:
        Console(soft_wrap=True).print(table)


@models.command()
@click.argument("path")
@click.option(
    "--corrections/--no-corrections",
    default=True,
    help="Correct what mlx-lm reads otherwise than the model's author wrote it.",
)
@click.option("--adapter", help="Merge the adapter of this folder or hub id into it.")
def inspect(path: str, corrections: bool, adapter: str | None) -> None:
    """Show the hook points of a model: a folder, a hub id or a name of `models list`."""
    from engine.errors import EngineError
    from engine.runs.kit import load_model
    from engine.structure.inspection import hook_points

    try:
        kit = load_model(path, corrections=corrections, adapter_path=adapter)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{kit.info.architecture}, {kit.info.layers} layers")
    for each in kit.corrections:
        click.echo(f"corrected, {each.name}: {each.reason}")
    if kit.adapter:
        layers = len(kit.adapter.modules)
        click.echo(f"adapter {kit.adapter.name}: {kit.adapter.kind} of {layers} modules, merged")
    table = Table("component", "layers", "shape", box=None)
    for row in hook_points(kit.structure):
        table.add_row(row.component, row.layers, escape(row.shape or f"absent: {row.reason}"))
    Console(soft_wrap=True).print(table)
