"""`neuroscope-bridge openapi`: refresh the committed API document from the engine."""

from pathlib import Path

import click

from bridge.resources import OPENAPI


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OPENAPI,
    help="Where to write it; default: where the generator reads it.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the document is out of date.")
def openapi(output: Path, check: bool) -> None:
    """Write the API document that the engine declares."""
    from engine.contract.openapi import openapi_json, write_openapi

    if not check:
        write_openapi(output)
        click.echo(f"wrote {output}")
    elif not output.exists() or output.read_text(encoding="utf-8") != openapi_json():
        raise click.ClickException(f"{output} is out of date: run 'neuroscope-bridge openapi'")
    else:
        click.echo(f"{output} is up to date")
