"""What the tests of NeuroScope's classes share: a model in an image, and Python's own captures."""

import re
from typing import Any

import numpy as np

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

IOI = "When Mary and John went to the store, John gave a drink to"
IOI_CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


def ask(system: System, engine: LMStudioNeuroScopeClient, expression: str) -> Any:
    """The value of statements about `client` and `model`; they may declare temporaries first."""
    declared = re.match(r"\|([^|]*)\|", expression)
    temporaries, rest = (
        (declared[1], expression[declared.end() :]) if declared else ("", expression)
    )
    return answer(
        system,
        f"| client model {temporaries} | client := LMStudioRESTClient baseUrl: "
        f"'{engine.base_url}';; model := TransformerModel remote: client;; {rest}",
    )


def capture(
    engine: LMStudioNeuroScopeClient, prompt: Any, *places: tuple[int | str, str], **options: Any
) -> dict[tuple[int | str, str], np.ndarray]:
    """What Python captures of a layer's component, by layer and component; logits by "logits"."""
    hooks = [
        {"layer_name": str(layer), "component": component, "hook_id": f"{layer} {component}"}
        for layer, component in places
    ]
    reply = engine.forward(prompt, hooks, activation_format="array", logits="all", **options)
    found: dict[Any, np.ndarray] = {
        (layer, component): np.array(reply["activations"][f"{layer} {component}"][0]["data"])
        for layer, component in places
    }
    found["logits"] = np.array(reply["logits"]["data"])[0]
    return found
