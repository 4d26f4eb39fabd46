"""`neuroscope-bridge models`: fetch the default model, see what is there."""

import click


@click.group()
def models() -> None:
    """Models on this machine."""


@models.command()
@click.argument("name", type=click.Choice(["smollm2"]))
def pull(name: str) -> None:
    """Fetch a model into the cache; nothing is done if it is there."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from engine.errors import EngineError
    from engine.smollm2 import pull_smollm2

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns) as bar:
        tasks = {}

        def show(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                tasks[activity] = bar.add_task(activity)
            bar.update(tasks[activity], completed=done, total=total)

        try:
            folder = pull_smollm2(show)
        except EngineError as error:
            raise click.ClickException(str(error)) from error
    click.echo(folder)
