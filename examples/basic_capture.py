"""Read the residual stream of a few layers while the model reads a prompt.

Start `neuroscope-bridge serve --model smollm2` first; another server's address is the argument.
"""

import sys

import numpy as np

from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record

PROMPT = "The capital of France is"
hooks = [{"layer_name": str(layer), "component": "residual"} for layer in (0, 15, 29)]

with LMStudioNeuroScopeClient(*sys.argv[1:]) as client:
    result = client.forward(PROMPT, hooks, top_k=1)

print(result["texts"][0])
for name, records in result["activations"].items():
    stream = from_record(records[0], {})
    print(name, stream.shape, f"norm at the last token {np.linalg.norm(stream[0, -1]):.2f}")
top = result["top"][0][0]
print(f"next token {top['text']!r}, probability {top['probability']:.3f}")

# prints
#   ['The', ' capital', ' of', ' France', ' is']
#   layer_0_residual (1, 5, 576) norm at the last token 35.19
#   layer_15_residual (1, 5, 576) norm at the last token 170.33
#   layer_29_residual (1, 5, 576) norm at the last token 619.24
#   next token ' Paris', probability 0.773
