"""`neuroscope-bridge mcp`: a running engine's operations as tools for a language model."""

import asyncio
import json

import click

from bridge.resources import OPENAPI
from bridge.transport import DEFAULT_URL


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the engine runs.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for one call.")
def mcp(url: str, timeout: float) -> None:
    """Serve a running engine's operations over the Model Context Protocol, on standard input and
    output, as clients such as an editor's assistant start it.

    The engine's token, where it asks for one, is read from NEUROSCOPE_TOKEN.
    """
    try:
        from mcp.server.stdio import stdio_server
    except ModuleNotFoundError as error:
        raise click.ClickException(
            "the Model Context Protocol's library is missing: pip install 'neuroscope-bridge[mcp]'"
        ) from error
    from bridge.mcp.server import Endpoint, tool_server

    async def run() -> None:
        document = json.loads(OPENAPI.read_text(encoding="utf-8"))
        async with Endpoint(url, timeout=timeout) as endpoint, stdio_server() as (receive, send):
            server = tool_server(document, endpoint)
            await server.run(receive, send, server.create_initialization_options())

    asyncio.run(run())
