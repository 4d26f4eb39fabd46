"""`neuroscope-bridge smalltalk`: where the packages of a dialect are, and how to install them."""

import shutil
from pathlib import Path

import click

from bridge.generator.dialects import DIALECTS
from bridge.installing import INSTALLATIONS, USUAL_ADDRESS
from bridge.resources import resource_folder


@click.command()
@click.argument("dialect", type=click.Choice(list(DIALECTS)))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Copy the packages into this folder, which must be empty or new.",
)
@click.option(
    "--url",
    default=USUAL_ADDRESS,
    show_default=True,
    help="The address of the server that the image installs from.",
)
def smalltalk(dialect: str, output: Path | None, url: str) -> None:
    """Show where the packages for a Smalltalk are, and the expression that installs them."""
    folder = resource_folder("smalltalk") / dialect
    if output is not None:
        if output.is_dir() and any(output.iterdir()):
            raise click.ClickException(f"{output} is not empty")
        shutil.copytree(folder, output, dirs_exist_ok=True)
        folder = output
    installation = INSTALLATIONS[dialect]
    where = "in a shell" if installation.in_shell else "in the image"
    click.echo(f"packages for {DIALECTS[dialect].title}: {folder.resolve()}")
    click.echo(f"\nto install them from there, {where}:\n")
    click.echo(f"  {installation.from_folder(folder.resolve())}")
    click.echo("\nto install them from a running `neuroscope-bridge serve`, in the image:\n")
    click.echo(f"  {installation.from_server(url, dialect)}")
