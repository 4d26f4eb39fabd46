"""`neuroscope-bridge generate`: the Smalltalk bindings of an API document."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.resources import OPENAPI

if TYPE_CHECKING:
    from bridge.generator.client import Client
    from bridge.generator.settings import Settings

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--spec",
    metavar="FILE-OR-URL",
    help="The OpenAPI 3 document, as JSON or YAML; default: that of this bridge.",
)
@click.option(
    "--dialect",
    "dialects",
    metavar="NAME",
    multiple=True,
    help="A Smalltalk system; default: all.",
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
    type=FOLDER,
    help="Where to write, one folder a dialect; default: smalltalk.",
)
@click.option("--class-name", help="The client's class; default: after the document's title.")
@click.option("--package", help="The client's package; default: as its class.")
@click.option("--prefix", help="What the other classes' names begin with; default: as the client.")
@click.option("--base-url", help="The server's address; default: the document's first server.")
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    help="Only operations of tag:NAME, path:PATTERN or operation:PATTERN.",
)
@click.option(
    "--exclude", metavar="PATTERN", multiple=True, help="No operations of such a pattern."
)
@click.option(
    "--models",
    metavar="PATTERN",
    multiple=True,
    is_flag=False,
    flag_value="*",
    help="Classes for the schemas of such names, such as 'Pet*'; without a pattern, for all.",
)
@click.option("--allow-remote-refs", is_flag=True, help="Follow references to other addresses.")
@click.option(
    "--templates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Templates that take the place of ours of the same name.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings for all of these; default: smalltalk-bindings.toml beside the output.",
)
@click.option("--save", is_flag=True, help="Write the settings in use into that file.")
@click.option("--fail-on-warning", is_flag=True, help="Write nothing and exit 1 on a warning.")
@click.option(
    "--diff",
    "old_spec",
    metavar="OLD-SPEC",
    help="Write nothing; say what differs from this older document. Exit 1 if that breaks callers.",
)
@click.option(
    "--diff-format",
    type=click.Choice(["text", "json", "changelog"]),
    default="text",
    show_default=True,
    help="How to print the differences.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit 1 if anything would differ but files that .bindingsignore lists.",
)
@click.option("--force", is_flag=True, help="Overwrite what was edited by hand.")
def generate(
    old_spec: str | None,
    diff_format: str,
    check: bool,
    force: bool,
    save: bool,
    fail_on_warning: bool,
    config: Path | None,
    **given: Any,
) -> None:
    """Render the Smalltalk bindings of an API document."""
    from bridge.generator.errors import GeneratorError

    failure = NoComparisonError if old_spec else click.ClickException
    try:
        settings, file = _settings(given, config)
    except GeneratorError as error:
        raise failure(str(error)) from error
    try:
        if old_spec:
            _diff(settings, old_spec, diff_format)
            return
        client = _client(settings)
        _warn(client, fail_on_warning)
        _run(client, settings, check, force)
        if not check and (save or not (client.naming.is_bridge or file.exists())):
            _save(client, settings, file)
    except GeneratorError as error:
        raise failure(str(error)) from error
    except RecursionError as error:
        raise failure(f"{settings.spec}: nested too deeply") from error


def _settings(given: dict[str, Any], config: Path | None) -> "tuple[Settings, Path]":
    """What was given, and behind that what the settings file says, if it is of this output."""
    from bridge.generator.errors import GeneratorError
    from bridge.generator.naming import Choices
    from bridge.generator.settings import SETTINGS_FILE, Settings, read_settings

    choices = Choices(*(given[k] or "" for k in ("class_name", "package", "prefix", "base_url")))
    mine = Settings(
        given["spec"] or "",
        given["output"],
        choices,
        given["dialects"],
        given["formats"],
        given["templates"],
        given["include"],
        given["exclude"],
        given["allow_remote_refs"],
        given["models"],
    )
    file = config or (mine.output.parent if mine.output else Path()) / SETTINGS_FILE
    kept = read_settings(file) if file.exists() else Settings()
    if config is None and mine.output and kept.output:
        if mine.output.resolve() != kept.output.resolve():
            kept = Settings()
    elif config is None and mine.spec and kept.spec and mine.output is None:
        raise GeneratorError(
            f"{file} is for {kept.spec}: name another folder by --output, or that file by --config"
        )
    return mine.over(kept).over(Settings(spec=str(OPENAPI), output=Path("smalltalk"))), file


def _client(settings: "Settings") -> "Client":
    from bridge.generator.api.document import read_api
    from bridge.generator.choosing import wanted_by
    from bridge.generator.client import client_of
    from bridge.generator.packages import base_class
    from bridge.generator.templates import Templates

    api = read_api(settings.spec, allow_remote=settings.allow_remote)
    wanted = wanted_by(api, settings.include, settings.exclude)
    base = base_class(Templates(settings.templates))
    return client_of(api, base, settings.choices, wanted, settings.models)


def _warn(client: "Client", fail: bool) -> None:
    from bridge.generator.problems import skipped_counts

    for problem in client.problems:
        click.echo(f"warning: {problem}", err=True)
    counts = skipped_counts(client.problems)
    if counts:
        click.echo(f"warning: {counts}", err=True)
    if fail and client.problems:
        raise click.ClickException(f"{len(client.problems)} warnings, so nothing was written")


def _run(client: "Client", settings: "Settings", check: bool, force: bool) -> None:
    from bridge.generator.dialects import DIALECTS, dialect_named
    from bridge.generator.generate import render
    from bridge.generator.render import format_named
    from bridge.generator.templates import Templates

    rendering = render(
        client,
        tuple(dialect_named(name) for name in settings.dialects or DIALECTS),
        templates=Templates(settings.templates),
        formats=tuple(map(format_named, settings.formats)),
    )
    output = settings.output or Path()
    count = len(rendering.files)
    if check:
        found = rendering.check(output)
        if found:
            raise click.ClickException("\n".join(map(str, found)))
        click.echo(f"{count} files are up to date in {output}")
        return
    done = rendering.write(output, force=force)
    for path in done.removed:
        click.echo(f"removed: {output / path}")
    click.echo(f"{count} files in {output}, {len(done.written)} of them written")


def _save(client: "Client", settings: "Settings", file: Path) -> None:
    from bridge.generator.settings import named, write_settings

    naming = client.naming
    write_settings(file, named(settings, naming.class_name, naming.package, naming.prefix))
    click.echo(f"settings in {file}")


def _diff(settings: "Settings", old_spec: str, form: str) -> None:
    from dataclasses import replace

    from bridge.generator.diff import FORMS, diff_of

    differences = diff_of(_client(replace(settings, spec=old_spec)), _client(settings))
    click.echo(FORMS[form](differences))
    if differences.is_breaking:
        sys.exit(1)


class NoComparisonError(click.ClickException):
    """Two documents cannot be compared: its status is not that of a breaking change."""

    exit_code = 2
