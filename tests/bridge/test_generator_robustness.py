"""Whatever stands anywhere in a document, there is a client or an error of ours, no traceback."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign import HOSTILE, our_base, written
from test_generator_diff import pets

from bridge.generator.api.document import read_api
from bridge.generator.client import client_of
from bridge.generator.dialects import DIALECTS
from bridge.generator.diff import diff_of
from bridge.generator.digests import Digests
from bridge.generator.errors import GeneratorError
from bridge.generator.linter import lint
from bridge.generator.packages import packages_of
from bridge.generator.templates import Templates

pytestmark = pytest.mark.slow

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 3,
    "text": HOSTILE,
    "list": [None, 3, "x", []],
    "object": {"x": None},
    "nothing": {},
    "reference": {"$ref": "#/paths"},
    "itself": {"$ref": "#"},
    "nowhere": {"$ref": "#/no/such/place"},
    "no reference": {"$ref": 3},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a value but itself."""
    keys = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in keys:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A document with another value at a place."""
    copied = copy.deepcopy(document)
    holder = copied
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return copied


def whole() -> dict[str, Any]:
    """A document with every kind of object that is read."""
    content = pets()
    entry = content["paths"]["/pets"]["post"]
    entry["x-smalltalk-selector"] = ["add: name"]
    entry["servers"] = [{"url": "https://{a}.example", "variables": {"a": {"default": "b"}}}]
    entry["responses"] = {
        "200": {"description": "x", "headers": {"X": {"schema": {"type": "string"}}}},
        "default": {"description": "x"},
    }
    return content


@pytest.mark.parametrize("name", VALUES)
def test_any_value_anywhere_is_read_or_refused(tmp_path: Path, name: str) -> None:
    document = whole()
    base, templates = our_base(), Templates()
    old = client_of(read_api(written(tmp_path, document, "old.json")), base)
    for place in places(document):
        spec = written(tmp_path, changed(document, place, VALUES[name]))
        try:
            new = client_of(read_api(spec), base)
        except GeneratorError:
            continue
        try:
            diff_of(old, new)
            Digests(new.api)
            if len(place) < 6:
                lint(packages_of(new, DIALECTS["gst"], templates), DIALECTS["gst"], style=False)
        except Exception as error:
            raise AssertionError(f"{place}: {json.dumps(VALUES[name])}: {error!r}") from error
