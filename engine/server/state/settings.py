"""What whoever starts the server may decide."""

from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Limits and permissions of one server. Sizes are in bytes, times in seconds."""

    version: str  # of the distribution, as /health reports it
    host: str = "127.0.0.1"
    port: int = 50111
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()  # names beyond localhost; IP addresses always pass
    allowed_origins: tuple[str, ...] = ()  # origins beyond pages served from localhost
    model_roots: tuple[Path, ...] = ()
    allow_hub: bool = False
    max_models: int = 8  # loaded at once
    max_hooks: int = 4096  # registered by one session on one model, one a layer

    capture_bytes: int = 2048 * MEGABYTE
    spill_folder: Path | None = None
    spill_bytes: int = 16384 * MEGABYTE
    prefix_bytes: int = 1024 * MEGABYTE  # of earlier prompts' keys and values; 0: none are kept
    memory_bytes: int | None = None  # most that MLX may take, models included; None: as MLX has it

    max_body_bytes: int = 64 * MEGABYTE
    max_prompt_characters: int = 1_000_000
    max_batch_characters: int = 2_000_000  # of all texts of a request
    max_prompt_tokens: int = 32768
    max_batch_tokens: int = 65536
    max_tokens: int = 8192  # that one generation may have
    max_choices: int = 1024  # of all prompts of a request
    context_tokens: int = 2048  # of prompt and text, where a model does not say how many it takes
    queue_size: int = 128
    connections: int = 1024

    stuck_after: float = 120.0  # a generation thread this long without a sign of life is not ready
    client_patience: float = 30.0  # how long a client may neither send nor take what it should
    breakpoint_patience: float = 60.0  # how long a stopped pass waits for its client to go on
    debugger_patience: float = 600.0  # how long a debug session is kept that nothing is asked of
    shutdown_grace: float = 5.0
