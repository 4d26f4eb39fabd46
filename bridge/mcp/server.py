"""A server of the Model Context Protocol whose tools are the endpoint's operations."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    TextContent,
    Tool,
    ToolAnnotations,
)

from bridge import __version__
from bridge.errors import BridgeError
from bridge.mcp.readable import described, readable
from bridge.mcp.tools import Operation, operations
from bridge.transport import AsyncTransport

INSTRUCTIONS = (
    "Look inside a language model that runs in an engine of the NeuroScope bridge: capture and "
    "change activations, read weights, find circuits. list_models says which models are loaded; "
    "layers, heads and positions count from 0."
)


class Endpoint(AsyncTransport):
    """A connection that can call any operation."""

    async def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """The reply with its tensors readable. Raises BridgeError, httpx.TransportError."""
        parts = operation.parts(arguments)
        if operation.is_binary:
            arrays = await self._arrays(operation.method, operation.route, **parts)
            return {name: described(array) for name, array in arrays.items()}
        return readable(await self._json(operation.method, operation.route, **parts))


def tool_server(document: Mapping[str, Any], endpoint: Endpoint) -> Server:
    """The server of an API document's tools, which sends their calls to `endpoint`.

    A refused call, or an endpoint that cannot be reached, is a tool's error with its message.
    """
    known = {operation.name: operation for operation in operations(document)}

    async def on_list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[_tool(operation) for operation in known.values()])

    async def on_call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in known:
            return _text(f"there is no tool {params.name!r}; there are {', '.join(known)}", True)
        try:
            reply = await endpoint.call(known[params.name], params.arguments or {})
        except BridgeError as error:
            return _text(str(error), True)
        except httpx.TransportError as error:
            return _text(
                f"no engine replies at {endpoint.base_url} ({error}): start one with "
                "'neuroscope-bridge serve --model …'",
                True,
            )
        return _text(json.dumps(reply, ensure_ascii=False), False)

    return Server(
        "neuroscope-bridge",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


def _tool(operation: Operation) -> Tool:
    return Tool(
        name=operation.name,
        description=operation.description,
        input_schema=dict(operation.schema),
        annotations=ToolAnnotations(
            read_only_hint=operation.method == "GET",
            destructive_hint=operation.method == "DELETE",
            open_world_hint=False,
        ),
    )


def _text(text: str, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)
