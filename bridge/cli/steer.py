"""`neuroscope-bridge steer`: steering vectors of a running engine."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bridge.client import LMStudioNeuroScopeClient

URL = click.option("--url", default="http://127.0.0.1:50111", show_default=True, help="The engine.")
MODEL = click.option("--model", help="Default: the model that was loaded last.")
FORMATS = {".safetensors": "safetensors", ".gguf": "gguf"}


@click.group()
def steer() -> None:
    """Find directions that steer a model, write them to files, and let them act."""


@steer.command()
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file ending in .safetensors, or in .gguf for llama.cpp and repeng.",
)
@click.option(
    "--method",
    type=click.Choice(["mean_difference", "pca", "pca_center"]),
    default="mean_difference",
    show_default=True,
)
@click.option("--layers", help="The first and last layer, such as 8-19. Default: all.")
@click.option(
    "--position",
    default="-1",
    show_default=True,
    help="The token whose stream is read; or mean, of all tokens.",
)
@MODEL
@URL
def compute(
    pairs: Path,
    output: Path,
    method: str,
    layers: str | None,
    position: str,
    model: str | None,
    url: str,
) -> None:
    """Find a vector from PAIRS: a line of JSON each, {"positive": …, "negative": …}."""
    form = FORMATS.get(output.suffix)
    if form is None:
        raise click.UsageError(f"--output ends in none of {', '.join(FORMATS)}")
    options: dict[str, Any] = {"method": method, "position": _position(position), "model": model}
    options["layers"] = None if layers is None else _layers(layers)
    if form == "gguf" and options["layers"] is None:
        with _client(url) as client:
            entry = _entry(client, model)
        options["layers"] = list(range(1, entry["layers"]))  # the format has no layer 0
    with _client(url) as client:
        found = client.compute_steering_vector(_pairs(pairs), **options)
        try:
            written = client.read_steering_vector(found["vector"], format=form)
        finally:
            client.delete_steering_vector(found["vector"])
    output.write_bytes(base64.b64decode(written["data_base64"]))
    norms = ", ".join(f"{each['layer']}: {each['norm']:.3g}" for each in found["directions"])
    click.echo(f"{output}, lengths by layer: {norms}")


@steer.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--strength", type=float, help="Times each direction. Default: 1.")
@click.option(
    "--ablate", type=int, metavar="LAYER", help="Take this layer's direction out everywhere."
)
@click.option(
    "--positions",
    type=click.Choice(["all", "prompt", "generated"]),
    default="all",
    show_default=True,
)
@click.option("--id", "steering_id", help="The id by which it is removed. Default: a new one.")
@MODEL
@URL
def apply(
    file: Path,
    strength: float | None,
    ablate: int | None,
    positions: str,
    steering_id: str | None,
    model: str | None,
    url: str,
) -> None:
    """Steer every client of the engine by FILE, until it is removed."""
    with _client(url) as client:
        sent = base64.b64encode(file.read_bytes()).decode("ascii")
        vector = client.import_steering_vector(sent)["vector"]
        options: dict[str, Any] = {"strength": strength, "positions": positions}
        if ablate is not None:
            options |= {"operation": "ablation", "of_layer": ablate}
        entry = client.register_steering(vector, steering_id=steering_id, model=model, **options)
        client.delete_steering_vector(vector)
    click.echo(f"{entry['steering_id']} steers {entry['model']}")


@steer.command("list")
@URL
def list_steering(url: str) -> None:
    """List what steers every client of the engine."""
    with _client(url) as client:
        for each in client.list_steering()["steering"]:
            what = ", ".join(f"{at['layer']}: {at['strength']:g}" for at in each["layers"])
            if each["operation"] == "ablation":
                what = f"ablation of the direction of layer {each['of_layer']}"
            click.echo(f"{each['steering_id']}  {each['model']}  {each['positions']}  {what}")


@steer.command()
@click.argument("steering_id", required=False)
@URL
def remove(steering_id: str | None, url: str) -> None:
    """Steer no longer by STEERING_ID, or by nothing at all."""
    with _client(url) as client:
        removed = (
            client.delete_all_steering()
            if steering_id is None
            else client.delete_steering(steering_id)
        )
    for each in removed["removed_steering"]:
        click.echo(each)


@contextmanager
def _client(url: str) -> Iterator["LMStudioNeuroScopeClient"]:
    """A client of the engine; what goes wrong with it is told in a line."""
    import httpx

    from bridge.client import LMStudioNeuroScopeClient
    from bridge.errors import BridgeError

    try:
        with LMStudioNeuroScopeClient(url) as client:
            yield client
    except httpx.TransportError as error:
        raise click.ClickException(f"no engine can be reached at {url}: {error}") from error
    except BridgeError as error:
        raise click.ClickException(str(error)) from error


def _entry(client: "LMStudioNeuroScopeClient", model: str | None) -> Any:
    if model is not None:
        return client.retrieve_model(model)
    return client.retrieve_model(client.health()["model"] or "")


def _pairs(file: Path) -> list[Any]:
    pairs = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            pair = json.loads(line)
        except ValueError as error:
            raise click.ClickException(f"{file}, line {number}: {error}") from error
        if not isinstance(pair, dict) or set(pair) != {"positive", "negative"}:
            raise click.ClickException(
                f"{file}, line {number}: an object of positive and negative is needed"
            )
        pairs.append(pair)
    if not pairs:
        raise click.ClickException(f"{file} contains no pairs")
    return pairs


def _layers(text: str) -> list[int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()) or int(first) > int(last or first):
        raise click.UsageError(f"--layers: {text!r} is not like 8, or 8-19")
    return list(range(int(first), int(last or first) + 1))


def _position(text: str) -> int | str:
    if text == "mean":
        return text
    try:
        return int(text)
    except ValueError:
        raise click.UsageError(f"--position: {text!r} is no number, nor mean") from None
