"""`neuroscope-bridge doctor`: what is found on this machine, and how to mend what is not."""

import click

from bridge.transport import DEFAULT_URL


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where an engine should run.")
def doctor(url: str) -> None:
    """Show what MLX computes with, the memory, the default model, what is at the engine's address,
    and the Smalltalk systems; and for what is missing, what to do if it is wanted."""
    from bridge.doctor import findings

    for finding in findings(url):
        click.echo(f"{finding.name}: {finding.found}")
        if finding.mend:
            click.echo(f"    to do: {finding.mend}")
