"""How fast each Smalltalk here works with tensors, and how fast it asks a server.

Milliseconds of one operation on a tensor of a million floats [1000, 1000]; of a request that
computes nothing; of the texts of 50 tokens; of a forward pass over 300 tokens with the logits of
the last position and with all; of training a probe on 200 examples of 576 numbers, exactly and in
50 epochs. The server runs the default model. GNU Smalltalk runs where `GST` names it or the path
has it.

    python -m benchmarks.images
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.decode import systems
from bridge.engine_process import running_engine
from engine.models.smollm2 import pull_smollm2
from systems import System

OPERATIONS = {
    "mean": "big mean",
    "norm": "big norm",
    "max": "big max",
    "exp": "big exp",
    "plus a tensor": "big + big",
    "times a number": "3 * big",
    "softmax": "big softmax",
    "transpose": "big transpose",
    "mean along an axis": "big mean: 0",
    "slice of 500 rows": "big slice: (0 to: 499) axis: 0",
    "5 largest": "big flatten topK: 5",
    "probe, exact": "(LinearProbe input: x labels: labels regularization: 0.1) train",
    "probe, 50 epochs": "LinearProbe new trainingData: x labels: labels validationSplit: 0.2 "
    "epochs: 50 learningRate: 0.5; train",
}
REQUESTS = {
    "request": "1 to: 20 do: [:each | client health]",
    "texts of 50 tokens": "model tokenizer textsOf: (tokens copyFrom: 1 to: 50)",
    "forward, 300 tokens": "model forward: tokens",
    "forward with all logits": "model forward: tokens logits: #all",
}
SETTING = """| client model tokens big x labels | client := LMStudioRESTClient baseUrl: '{url}'.
model := TransformerModel remote: client. client health.
tokens := (1 to: 300) asArray collect: [:each | each * 7 + 1000].
big := (ActivationTensor zeros: #(1000 1000)) + 0.5. x := ActivationTensor random: #(200 576).
labels := (1 to: 200) asArray collect: [:each | (x at: each - 1 at: 0) > 0].
NeuroScopePlatform current writeJson: {{{times}}}"""


def measured(system: System, url: str) -> dict[str, float]:
    """Milliseconds by the name of what was done."""
    steps = OPERATIONS | REQUESTS
    times = ". ".join(f"Time millisecondsToRun: [{step}]" for step in steps.values())
    said = json.loads(system.run(SETTING.format(url=url, times=times)))
    found = dict(zip(steps, map(float, said), strict=True))
    return found | {"request": found["request"] / 20}


def main() -> None:
    with TemporaryDirectory() as folder, running_engine(str(pull_smollm2())) as client:
        found = {s.name: measured(s, client.base_url) for s in systems(Path(folder))}
    table = Table("milliseconds", *found)
    for step in OPERATIONS | REQUESTS:
        table.add_row(step, *(f"{times[step]:.1f}" for times in found.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
