"""Steer what the model writes: add a direction to the residual stream of one layer.

The direction is the mean difference between pairs of texts that differ in mood alone. Start
`neuroscope-bridge serve --model smollm2` first; another server's address is the argument.
"""

import sys

import numpy as np

from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record, to_value

LAYER = "14"
PAIRS = [
    ("I love this, it is wonderful", "I hate this, it is terrible"),
    ("What a beautiful happy day", "What a horrible sad day"),
    ("The food was delicious and great", "The food was disgusting and awful"),
]
PROMPT = "I went to the new restaurant and it was"
hook = {"layer_name": LAYER, "component": "residual", "positions": [-1]}


def stream(client: LMStudioNeuroScopeClient, text: str) -> np.ndarray:
    """The residual stream after the layer, at the last token."""
    activations = client.forward(text, [hook])["activations"]
    return from_record(next(iter(activations.values()))[0], {})[0, -1]


with LMStudioNeuroScopeClient(*sys.argv[1:]) as client:
    direction = np.mean([stream(client, a) - stream(client, b) for a, b in PAIRS], axis=0)
    for strength in (-1, 0, 1):
        change = {"layer_name": LAYER, "component": "residual", "operation": "addition"}
        value = to_value(strength * direction)
        result = client.generate_with_activations(
            PROMPT, [], max_tokens=8, temperature=0, interventions=[change | {"value": value}]
        )
        print(f"{strength:+d} {PROMPT}{result['choices'][0]['text']}")

# prints
#   -1 I went to the new restaurant and it was a nightmare. I had to eat a
#   +0 I went to the new restaurant and it was amazing. I had a choice between two
#   +1 I went to the new restaurant and it was amazing. The food was amazing, the
