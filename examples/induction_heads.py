"""Find induction heads: they attend to the token behind an earlier occurrence of the present one.

On random tokens that begin again, nothing else looks there. Start
`neuroscope-bridge serve --model smollm2` first; another server's address is the argument.
"""

import sys

import numpy as np

from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record

COUNT = 25
tokens = np.random.default_rng(0).integers(1000, 40000, COUNT).tolist()
hook = {"layer_name": "*", "component": "attention_pattern"}

with LMStudioNeuroScopeClient(*sys.argv[1:]) as client:
    activations = client.forward(tokens * 2, [hook], activation_format="base64")["activations"]
patterns = np.stack([from_record(records[0], {})[0] for records in activations.values()])

queries = np.arange(COUNT, 2 * COUNT)
scores = patterns[:, :, queries, queries - COUNT + 1].mean(-1)
for place in np.argsort(-scores, axis=None)[:5]:
    layer, head = np.unravel_index(place, scores.shape)
    print(f"L{layer}H{head}: {scores[layer, head]:.2f} of its attention, on average")
print(f"median of all {scores.size} heads: {np.median(scores):.3f}")

# prints
#   L18H6: 0.87 of its attention, on average
#   L17H4: 0.77 of its attention, on average
#   L17H3: 0.75 of its attention, on average
#   L17H5: 0.73 of its attention, on average
#   L18H7: 0.53 of its attention, on average
#   median of all 270 heads: 0.011
