"""`neuroscope-bridge serve`: the endpoint, until it is told to stop."""

import logging
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from bridge import __version__
from bridge.resources import resource_folder

TOKEN_VARIABLE = "NEUROSCOPE_TOKEN"
MEGABYTE = 1 << 20
LARGEST = 2**31 - 1


@click.command()
@click.option("--model", help="A model folder, a pulled model's name, or a hub id.")
@click.option(
    "--adapter", help="An adapter's folder, of mlx-lm or PEFT, or hub id, merged into it."
)
@click.option("--model-id", help="The name that clients use for it; default: the last part.")
@click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help="Cast to it.")
@click.option(
    "--max-kv-size", type=click.IntRange(8, LARGEST), help="Tokens kept in a rotating cache."
)
@click.option("--kv-bits", type=click.Choice(["2", "3", "4", "6", "8"]), help="Quantise the cache.")
@click.option(
    "--corrections/--no-corrections",
    default=True,
    help="Correct what mlx-lm reads otherwise than the model's author wrote it.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=50111,
    show_default=True,
    help="0: any free one.",
)
@click.option(
    "--model-root",
    "model_roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Clients may load models below this folder, and always those pulled. Repeatable.",
)
@click.option(
    "--allow-hub", is_flag=True, help="Clients may download models, and load them by hub id."
)
@click.option("--allow-host", "allowed_hosts", multiple=True, help="A name this server goes by.")
@click.option(
    "--allow-origin",
    "allowed_origins",
    multiple=True,
    help="Pages of this origin may use the server; pages of localhost always may. Repeatable.",
)
@click.option(
    "--capture-budget",
    type=click.IntRange(1, LARGEST),
    default=2048,
    show_default=True,
    help="MB of captures kept.",
)
@click.option(
    "--spill",
    "spill_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Move captures over the budget here, as safetensors, in place of dropping them.",
)
@click.option(
    "--spill-budget",
    type=click.IntRange(1, LARGEST),
    default=16384,
    show_default=True,
    help="MB of captures kept there; the oldest are dropped.",
)
@click.option(
    "--prefix-cache",
    type=click.IntRange(0, LARGEST),
    default=1024,
    show_default=True,
    help="MB of earlier prompts' keys and values kept for prompts that begin alike, until other "
    "work needs the memory; 0: none.",
)
@click.option(
    "--memory-limit",
    type=click.IntRange(1, LARGEST),
    help="MB that the engine may take, the model included; default: what the machine has.",
)
@click.option("--tf32", is_flag=True, help="Faster float32 products on GPUs, 1e-3 off.")
@click.option(
    "--queue-size",
    type=click.IntRange(1, 4096),
    default=128,
    show_default=True,
    help="Requests that may wait.",
)
@click.option(
    "--max-models",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Models that are loaded at once.",
)
@click.option(
    "--breakpoint-wait",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds that a paused pass waits for its client.",
)
@click.option(
    "--debugger-wait",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    help="Seconds that a debug session is kept which nothing is asked of.",
)
@click.option(
    "--parallel",
    type=click.Choice(["tensor"]),
    help="Spread models over the ranks that mlx.launch started: by tensors, the heads and neurons "
    "of each layer.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def serve(
    model: str | None,
    adapter: str | None,
    model_id: str | None,
    dtype: str | None,
    max_kv_size: int | None,
    kv_bits: str | None,
    corrections: bool,
    host: str,
    port: int,
    model_roots: tuple[Path, ...],
    allow_hub: bool,
    allowed_hosts: tuple[str, ...],
    allowed_origins: tuple[str, ...],
    capture_budget: int,
    spill_folder: Path | None,
    spill_budget: int,
    prefix_cache: int,
    memory_limit: int | None,
    tf32: bool,
    queue_size: int,
    max_models: int,
    breakpoint_wait: float,
    debugger_wait: float,
    parallel: str | None,
    log_json: bool,
) -> None:
    """Serve a model's activations over HTTP.

    Where the environment variable NEUROSCOPE_TOKEN is set, every request must carry it as its
    bearer token; listening on anything but this machine requires it.
    """
    if tf32:
        os.environ["MLX_ENABLE_TF32"] = "1"  # which the engine leaves as it is
    console = Console(stderr=True, highlight=False)
    with console.status("starting the engine"):
        from engine.cache import models_folder
        from engine.contract.schemas import LoadModelRequest
        from engine.errors import EngineError
        from engine.machine.description import description as machine
        from engine.server.http import logs
        from engine.server.process import UnprotectedError, run
        from engine.server.ranks.serving import run_on_ranks
        from engine.server.state.settings import Settings

    if model is None and adapter:
        raise click.UsageError("--adapter needs the --model that it was trained on")
    logs.configure(json=log_json)
    settings = Settings(
        version=__version__,
        host=host,
        port=port,
        token=os.environ.get(TOKEN_VARIABLE) or None,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
        model_roots=(*model_roots, models_folder(), *_folders(model, adapter)),
        allow_hub=allow_hub,
        smalltalk_folder=resource_folder("smalltalk"),
        capture_bytes=capture_budget * MEGABYTE,
        spill_folder=spill_folder,
        spill_bytes=spill_budget * MEGABYTE,
        prefix_bytes=prefix_cache * MEGABYTE,
        memory_bytes=memory_limit and memory_limit * MEGABYTE,
        queue_size=queue_size,
        max_models=max_models,
        breakpoint_patience=breakpoint_wait,
        debugger_patience=debugger_wait,
    )
    wanted = None
    if model:
        wanted = LoadModelRequest.model_validate(
            {
                "model_path": _absolute(model),
                "adapter_path": adapter and _absolute(adapter),
                "model_id": model_id,
                "dtype": dtype,
                "max_kv_size": max_kv_size,
                "corrections": corrections,
                "kv_bits": int(kv_bits) if kv_bits else None,
            }
        )
    try:
        with console.status(f"loading {model}") as status:

            def announce(address: str, description: str) -> None:
                status.stop()
                for name, value in machine().items():
                    click.echo(f"{name}: {value}")
                click.echo(f"{description}\nlistening on {address}")

            code = (run_on_ranks if parallel else run)(settings, wanted, announce)
    except (EngineError, UnprotectedError, OSError) as error:
        raise click.ClickException(str(error)) from error
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # at once: MLX's threads may still be at a pass that nobody waits for


def _folders(*paths_or_ids: str | None) -> list[Path]:
    """Those that are folders: a hub id is no relative path."""
    return [Path(each) for each in paths_or_ids if each and Path(each).is_dir()]


def _absolute(path_or_id: str) -> str:
    """A folder's whole path; a model's name or a hub id as it is."""
    folder = Path(path_or_id)
    return str(folder.resolve()) if folder.is_dir() else path_or_id
