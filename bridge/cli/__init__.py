"""The command line: a thin skin over the engine and the bridge, one module a command."""

from importlib import import_module

import click

from bridge import __version__

COMMANDS = (
    "demo",
    "doctor",
    "examples",
    "features",
    "generate",
    "hook-points",
    "mcp",
    "models",
    "openapi",
    "python-client",
    "report",
    "serve",
    "smalltalk",
    "stand-in",
    "steer",
    "verify",
)


class LazyGroup(click.Group):
    """Imports a command when it is asked for, so that generating bindings never loads MLX."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        return getattr(import_module(f"bridge.cli.{module}"), module)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="neuroscope-bridge")
def main() -> None:
    """Look inside, and reach inside, any mlx-lm model from a Smalltalk image."""
