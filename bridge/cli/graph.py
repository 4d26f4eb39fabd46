"""`neuroscope-bridge graph`: which features made a prompt's next token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

FILE = click.Path(dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0, 1)


@click.command()
@click.argument("document", required=False, type=FILE)
@click.option("--prompt", help="Make the graph of this prompt on a running engine.")
@click.option("--url", default="http://127.0.0.1:50111", show_default=True, help="The engine.")
@click.option("--model", help="One of its models.  [default: the only one, or the first]")
@click.option("--features", help="Transcoders that it loads first: a folder, or a hub id.")
@click.option(
    "--feature-set", "feature_sets", multiple=True, help="A loaded transcoder.  [default: all]"
)
@click.option("--max-logits", type=click.IntRange(1), help="Next tokens at most.  [default: 10]")
@click.option("--logit-mass", type=SHARE, help="And their probability.  [default: 0.95]")
@click.option("--max-feature-nodes", type=click.IntRange(1), help="[default: 5000]")
@click.option("--node-threshold", type=SHARE, help="Share of influence kept.  [default: 0.8]")
@click.option("--edge-threshold", type=SHARE, help="[default: 0.98]")
@click.option("--slug", help="A name for the graph.  [default: of the prompt's words]")
@click.option("--output", type=FILE, help="Write the document here, for Neuronpedia's viewer too.")
@click.option("--page", type=FILE, help="Write a page that shows the graph here.")
def graph(
    document: Path | None,
    prompt: str | None,
    url: str,
    features: str | None,
    feature_sets: tuple[str, ...],
    output: Path | None,
    page: Path | None,
    **options: Any,
) -> None:
    """Make an attribution graph: the features of transcoders that made a prompt's next token.

    DOCUMENT is a graph that was made before, by this or by circuit-tracer, to be shown; or give
    --prompt.
    """
    import httpx
    import orjson

    from bridge.client import LMStudioNeuroScopeClient
    from bridge.errors import BridgeError
    from bridge.progress import ProgressBar
    from bridge.report.graph import graph_page, read_graph

    if (document is None) == (prompt is None):
        raise click.UsageError("give either DOCUMENT or --prompt")
    if not (output or page):
        raise click.UsageError("give --output, --page, or both: where to write the graph")
    try:
        if document:
            found = read_graph(document)
        else:
            with ProgressBar() as bar, LMStudioNeuroScopeClient(url, progress=bar) as client:
                if features:
                    loaded = client.load_features(features, model=options["model"])
                    feature_sets += tuple(each["id"] for each in loaded["feature_sets"])
                found = client.attribution_graph(
                    prompt or "", feature_sets=feature_sets or None, **options
                )
    except httpx.TransportError as error:
        raise click.ClickException(f"no engine can be reached at {url}: {error}") from error
    except BridgeError as error:
        raise click.ClickException(str(error)) from error
    if output:
        output.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        click.echo(output)
    if page:
        page.write_text(graph_page(found), encoding="utf-8")
        click.echo(page)
