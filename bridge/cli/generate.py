"""`neuroscope-bridge generate`: the Smalltalk bindings of an API document."""

from pathlib import Path

import click

from bridge.resources import OPENAPI


@click.command()
@click.option(
    "--spec",
    metavar="FILE-OR-URL",
    default=str(OPENAPI),
    help="The OpenAPI 3 document, as JSON; default: that of this bridge.",
)
@click.option(
    "--dialect", "names", metavar="NAME", multiple=True, help="A Smalltalk system; default: all."
)
@click.option(
    "--format",
    "formats",
    metavar="NAME",
    multiple=True,
    help="Files beside the dialect's own: filetree or tonel (Metacello), tree (a file a method).",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("smalltalk"),
    show_default=True,
    help="Where to write, one folder a dialect.",
)
@click.option(
    "--templates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Templates that take the place of ours of the same name.",
)
@click.option(
    "--diff",
    "old_spec",
    metavar="OLD-SPEC",
    help="Write nothing; say which selectors differ from those of this older document.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if anything would differ.")
@click.option("--force", is_flag=True, help="Overwrite what was edited by hand.")
def generate(
    spec: str,
    names: tuple[str, ...],
    formats: tuple[str, ...],
    output: Path,
    templates: Path | None,
    old_spec: str | None,
    check: bool,
    force: bool,
) -> None:
    """Render the Smalltalk bindings of an API document."""
    from bridge.generator import generate as generator
    from bridge.generator.client import client_of
    from bridge.generator.dialects import DIALECTS, dialect_named
    from bridge.generator.diff import selector_diff
    from bridge.generator.document import read_document
    from bridge.generator.errors import GeneratorError
    from bridge.generator.render import format_named

    try:
        document = read_document(spec)
        if old_spec:
            click.echo(selector_diff(client_of(read_document(old_spec)), client_of(document)))
            return
        dialects = tuple(dialect_named(name) for name in names or DIALECTS)
        files = generator.render(document, dialects, templates, tuple(map(format_named, formats)))
        if check:
            found = generator.check(output, document, dialects, files)
        else:
            generator.write(output, document, dialects, files, force=force)
    except GeneratorError as error:
        raise click.ClickException(str(error)) from error
    if check and found:
        raise click.ClickException("\n".join(map(str, found)))
    click.echo(f"{len(files)} files {'are up to date' if check else 'written'} in {output}")
