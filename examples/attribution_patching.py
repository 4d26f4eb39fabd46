"""Which heads let the model name the indirect object? An estimate beside the measurement.

Attribution patching estimates the effect of all 270 heads from three passes and a gradient;
activation patching measures it, in a pass for each head: here of the five best. Start
`neuroscope-bridge serve --model smollm2` first; another server's address is the argument.
"""

import sys

import numpy as np

from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record

TASK = {
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupted": "When Mary and John went to the store, Mary gave a drink to",
    "answer": " Mary",
    "distractor": " John",
}

with LMStudioNeuroScopeClient(*sys.argv[1:]) as client:
    swept = client.patch_circuit(**TASK, method="attribution_patching")
    estimates = from_record(swept["effects"], {})
    best = np.argsort(-estimates, axis=None)[:5]
    heads = [divmod(int(place), estimates.shape[1]) for place in best]
    sets = [[{"layer": layer, "head": head}] for layer, head in heads]
    together = [part for each in sets for part in each]
    patched = client.patch_circuit(**TASK, sets=[*sets, together])
    *alone, all_five = from_record(patched["effects"], {})

print(f"logit difference {swept['clean_score']:.2f}, corrupted {swept['corrupted_score']:.2f}")
for (layer, head), effect in zip(heads, alone, strict=True):
    print(f"L{layer}H{head}: estimated {estimates[layer, head]:.2f}, measured {effect:.2f}")
print(f"all five at once bring back {all_five:.2f} of the difference")

# prints
#   logit difference 6.12, corrupted -5.49
#   L23H3: estimated 0.65, measured 0.58
#   L29H1: estimated 0.27, measured 0.27
#   L19H2: estimated 0.15, measured 0.16
#   L23H0: estimated 0.14, measured 0.12
#   L20H0: estimated 0.11, measured 0.22
#   all five at once bring back 1.04 of the difference
