"""`neuroscope-bridge report`: one prompt's pass through a model, as a page."""

from pathlib import Path

import click


@click.command()
@click.argument("capture", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--prompt", help="Look at this prompt on a running engine.")
@click.option("--url", default="http://127.0.0.1:50111", show_default=True, help="The engine.")
@click.option("--corrupted", help="A second prompt of equal length; adds the circuit.")
@click.option("--answer", help="The token that the prompt calls for.")
@click.option("--distractor", help="The token that the second prompt calls for.")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="Keep the capture here too."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
)
def report(
    capture: Path | None,
    prompt: str | None,
    url: str,
    corrupted: str | None,
    answer: str | None,
    distractor: str | None,
    save: Path | None,
    output: Path,
) -> None:
    """Write a page with attention, logit lens, residual norms and, for two prompts, the circuit.

    CAPTURE is a file that an earlier report kept with --save; or give --prompt.
    """
    import httpx
    from rich.console import Console

    from bridge.client import LMStudioNeuroScopeClient
    from bridge.errors import BridgeError
    from bridge.report.collect import Contrast, collect
    from bridge.report.page import page
    from bridge.report.view import View

    if (capture is None) == (prompt is None):
        raise click.UsageError("give either CAPTURE or --prompt")
    given = {"--corrupted": corrupted, "--answer": answer, "--distractor": distractor}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise click.UsageError(f"the circuit also needs {', '.join(missing)}")
    if capture and len(missing) < len(given):
        raise click.UsageError("the circuit of a saved CAPTURE is the one that it was saved with")
    try:
        if capture:
            view = View.load(capture)
        else:
            contrast = None
            if corrupted and answer and distractor:
                contrast = Contrast(corrupted, answer, distractor)
            status = Console(stderr=True).status("looking into the model")
            with status, LMStudioNeuroScopeClient(url) as client:
                view = collect(client, prompt or "", contrast)
    except httpx.TransportError as error:
        raise click.ClickException(f"no engine can be reached at {url}: {error}") from error
    except BridgeError as error:
        raise click.ClickException(str(error)) from error
    if save:
        view.save(save)
    output.write_text(page(view), encoding="utf-8")
    click.echo(output)
