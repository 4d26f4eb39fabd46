"""`neuroscope-bridge demo`: what the engine does on a real model, written down."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder of all runs; each run makes a numbered one in it.",
)
@click.option("--model", default="smollm2", show_default=True, help="A model to serve and look at.")
@click.option("--url", help="Look at the model of this running engine instead.")
def demo(output: Path, model: str, url: str | None) -> None:
    """Try the engine on a model, look into it, and write what was found.

    Writes documents in JSON, each with its JSON schema and a text on its format, tensors in
    safetensors, and a log. Ends with status 1 if something was not as it must be.
    """
    from contextlib import ExitStack

    import httpx
    from rich.console import Console
    from rich.progress import Progress

    from bridge.client import LMStudioNeuroScopeClient
    from bridge.demo.run import Run
    from bridge.demo.run_folder import RunFolder
    from bridge.engine_process import running_engine
    from bridge.errors import BridgeError

    console = Console(stderr=True)
    failures = 0
    engine = LMStudioNeuroScopeClient(url) if url else running_engine(model)
    try:
        with ExitStack() as stack:
            with console.status("connecting" if url else f"loading {model}"):
                run = Run(stack.enter_context(engine))
            folder = RunFolder.next_in(output)
            progress = stack.enter_context(Progress(console=console))
            task = progress.add_task("", total=len(run))
            for name, failed in run.into(folder):
                progress.update(task, advance=1, description=name)
                failures += len(failed)
                for each in failed:
                    progress.print(f"{name}: {each.name}: {each.found}, not {each.expected}")
    except httpx.TransportError as error:
        raise click.ClickException(f"no engine can be reached at {url}: {error}") from error
    except BridgeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(folder.path)
    if failures:
        raise SystemExit(1)
