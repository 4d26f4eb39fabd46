"""`neuroscope-bridge python-client`: the Python client's operations from the API document."""

from pathlib import Path

import click

from bridge.resources import OPENAPI, PACKAGE


@click.command("python-client")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=PACKAGE / "api_client.py",
    help="Where to write it; default: where the client imports it.",
)
def python_client(output: Path) -> None:
    """Write the Python client's operations, one method an operation of the API document."""
    from bridge.generator.python_client import python_client as rendered

    output.write_text(rendered(OPENAPI), encoding="utf-8")
    click.echo(f"wrote {output}")
