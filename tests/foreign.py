"""Small OpenAPI documents for tests, and clients made of them."""

import json
from pathlib import Path
from typing import Any

from bridge.generator.api.document import Api, read_api
from bridge.generator.client import BaseClass, Client, client_of
from bridge.generator.dialects import DIALECTS
from bridge.generator.generate import render
from bridge.generator.naming import Choices
from bridge.generator.packages import base_class
from bridge.generator.templates import Templates

HOSTILE = (
    "x' ! \" ] } [ { ; . ^\r\n!\nSmalltalk at: #Pwned put: 42!\n"
    "' , (Smalltalk at: #Pwned put: 42) printString , '\u2028é宠"
)
"""Text that would end every place it might be put into, and run as code behind it."""
OK = {"200": {"description": "Done.", "content": {"application/json": {"schema": {}}}}}


def operation(**content: Any) -> dict[str, Any]:
    """An operation that answers JSON."""
    return {"operationId": "doIt", "summary": "Do it.", "responses": OK, **content}


def document(paths: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A whole document."""
    info = {"title": "Pet store", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, **parts}


def json_body(schema: Any, **content: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}, **content}


def written(folder: Path, content: Any, name: str = "openapi.json") -> Path:
    """A document in a file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(folder: Path, content: Any, **options: Any) -> Api:
    """What a document says."""
    return read_api(written(folder, content), **options)


def our_base() -> BaseClass:
    """What the superclass of all clients has."""
    return base_class(Templates())


def client(folder: Path, content: Any, **choices: str) -> Client:
    """The client of a document."""
    return client_of(read(folder, content), our_base(), Choices(**choices))


def generate_into(
    folder: Path, spec: Path, *dialects: str, models: tuple[str, ...] = (), **choices: str
) -> Client:
    """Write the bindings of a document for some dialects into a folder."""
    made = client_of(read_api(spec), our_base(), Choices(**choices), models=models)
    render(made, tuple(DIALECTS[name] for name in dialects)).write(folder)
    return made
