"""`neuroscope-bridge examples`: write the examples in Smalltalk, a script for each dialect."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path("examples"),
    show_default=True,
    help="The folder to write them into.",
)
def examples(output: Path) -> None:
    """Write the examples in Smalltalk, a script for each dialect, from the guide."""
    from bridge.generator.scripts import scripts

    for name, text in scripts().items():
        (output / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {output / name}")
