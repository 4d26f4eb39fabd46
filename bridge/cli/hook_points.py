"""`neuroscope-bridge hook-points`: write the documentation of the names of hook points."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/hook-points.md"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the page is out of date.")
def hook_points(output: Path, check: bool) -> None:
    """Write the names of hook points, the field's beside this project's, as Markdown."""
    from engine.field_names import markdown_page

    if not check:
        output.write_text(markdown_page(), encoding="utf-8")
        click.echo(f"wrote {output}")
    elif not output.exists() or output.read_text(encoding="utf-8") != markdown_page():
        raise click.ClickException(f"{output} is out of date: run 'neuroscope-bridge hook-points'")
    else:
        click.echo(f"{output} is up to date")
