"""Steering vectors as files: safetensors with metadata, or control vectors in GGUF."""

import json
import re
from collections.abc import Callable
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from engine.errors import InvalidRequestError
from engine.steering.control_vector import MAGIC, from_gguf, to_gguf
from engine.steering.vector import SteeringVector

FORMAT = "steering_vector"
FileFormat = Literal["safetensors", "gguf"]


def to_safetensors(vector: SteeringVector) -> bytes:
    """The file of a vector: a tensor ``direction.{layer}`` for each layer, and its metadata."""
    tensors = {
        f"direction.{layer}": np.ascontiguousarray(vector.directions[layer])
        for layer in vector.layers
    }
    named = {"architecture": vector.architecture} if vector.architecture else {}
    return save(tensors, {**vector.about, **named, "format": FORMAT})


def from_safetensors(body: bytes) -> SteeringVector:
    """The vector of a file. Raises InvalidRequestError for one that is damaged or is another
    thing."""
    try:
        tensors = load(body)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InvalidRequestError(f"the safetensors file cannot be read: {error}") from None
    directions = {}
    for name, values in tensors.items():
        match = re.fullmatch(r"direction\.([0-9]{1,6})", name)
        if match is None or values.dtype not in (np.float16, np.float32, np.float64):
            raise InvalidRequestError(
                f"{name!r}, of {values.dtype}, is no tensor of a steering vector; those are "
                "direction.0, direction.1 and so on, of floating point numbers"
            )
        directions[int(match[1])] = values.astype(np.float32)
    length = int.from_bytes(body[:8], "little")
    about = json.loads(body[8 : 8 + length]).get("__metadata__", {})
    about.pop("format", None)
    return SteeringVector(directions, about.pop("architecture", None), about)


WRITERS: dict[FileFormat, Callable[[SteeringVector], bytes]] = {
    "safetensors": to_safetensors,
    "gguf": to_gguf,
}


def from_file(body: bytes) -> SteeringVector:
    """The vector of a file of either format, which its first bytes tell."""
    return from_gguf(body) if body.startswith(MAGIC) else from_safetensors(body)
