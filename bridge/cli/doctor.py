"""`neuroscope-bridge doctor`: what this machine computes with."""

import click


@click.command()
def doctor() -> None:
    """Show MLX's version and device, whether float32 products are exact, and the BLAS."""
    from engine.machine.description import description

    for name, value in description().items():
        click.echo(f"{name}: {value}")
