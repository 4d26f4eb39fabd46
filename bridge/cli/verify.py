"""`neuroscope-bridge verify`: whether a circuit does on a model what its file says."""

from contextlib import AbstractContextManager
from pathlib import Path

import click


def print_schema(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print the JSON schema of a circuit's file, and end."""
    import json

    from bridge.circuits import SavedCircuit

    if wanted:
        click.echo(json.dumps(SavedCircuit.model_json_schema(), indent=2))
        context.exit()


@click.command()
@click.argument("circuit", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--model", help="A model to serve and verify it on. Default: that of the file.")
@click.option("--against", help="A second model to verify it on, shown beside the first.")
@click.option(
    "--url", help="Ask this running engine; the models are then those that it has loaded."
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_schema,
    help="Print the JSON schema of such a file instead.",
)
def verify(circuit: Path, model: str | None, against: str | None, url: str | None) -> None:
    """Measure the circuit of a file again, on this model, a quantisation or a fine-tune of it.

    Prints each number beside the saved one. Ends with status 1 if one is outside of its tolerance,
    or if a model has another shape.
    """
    import httpx
    from rich.console import Console

    from bridge.circuits import Check, SavedCircuit, table
    from bridge.circuits import verify as verified
    from bridge.client import LMStudioNeuroScopeClient
    from bridge.engine_process import running_engine
    from bridge.errors import BridgeError
    from bridge.progress import ProgressBar

    console = Console(stderr=True)

    def checked(saved: SavedCircuit, name: str | None) -> Check:
        engine: AbstractContextManager[LMStudioNeuroScopeClient]
        if url:
            engine, served = LMStudioNeuroScopeClient(url), name
        else:
            engine, served = running_engine(name or saved.model.id), None
        with ProgressBar(console) as bar, engine as client:
            client.progress = bar
            return verified(saved, client, served)

    try:
        saved = SavedCircuit.load(circuit)
        checks = [checked(saved, model)]
        if against:
            checks.append(checked(saved, against))
    except httpx.TransportError as error:
        raise click.ClickException(f"no engine can be reached at {url}: {error}") from error
    except BridgeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(table(saved, checks))
    if not all(check.is_passed for check in checks):
        raise SystemExit(1)
