"""How fast each Smalltalk here takes in a tensor: base64 to bytes, and bytes to single floats.

One million float32 (4 MB). Beside the milliseconds is the ratio to a plain loop over the same
bytes in the same run, which says how far from the system's own pace the decoding is, whatever the
machine. GNU Smalltalk runs where `GST` names it or the path has it.

    python -m benchmarks.decode
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from systems import Amber, GnuSmalltalk, OldSqueak, System, gst_program
from systems.squeak.machine import Squeak

COUNT = 1_000_000
REPEATS = {"amber": 20, "squeak": 20, "gst": 1}
STEPS = ("loop over the bytes", "base64 to bytes", "bytes to floats", "floats to bytes")
EXPRESSION = """| bytes text floats sum times |
floats := NeuroScopePlatform current floats: COUNT.
1 to: COUNT do: [:index | floats at: index put: index * 0.25].
bytes := NeuroScopePlatform current bytesFromFloats: floats.
text := NeuroScopePlatform current encodeBase64: bytes.
sum := 0.
times := {
    Time millisecondsToRun: [1 to: bytes size do: [:index | sum := sum + (bytes at: index)]].
    Time millisecondsToRun: [bytes := NeuroScopePlatform current decodeBase64: text].
    Time millisecondsToRun: [REPEATS timesRepeat: [
        floats := NeuroScopePlatform current floatsFrom: bytes startingAt: 1 count: COUNT]].
    Time millisecondsToRun: [REPEATS timesRepeat: [
        NeuroScopePlatform current bytesFromFloats: floats]]}.
(floats at: COUNT) = (COUNT * 0.25) ifFalse: [self error: 'decoded wrongly'].
NeuroScopePlatform current writeJson: times"""


def main() -> None:
    table = Table("system", *STEPS, title=f"{COUNT:,} float32, milliseconds (times the loop)")
    with TemporaryDirectory() as folder:
        for system in systems(Path(folder)):
            repeats = REPEATS[system.name]
            said = system.run(
                EXPRESSION.replace("COUNT", str(COUNT)).replace("REPEATS", str(repeats))
            )
            loop, base64, floats, back = json.loads(said)
            times = (base64, floats / repeats, back / repeats)
            cells = [f"{ms:.1f} ({ms / loop:.3f})" for ms in times]
            table.add_row(system.name, f"{loop:.0f}", *cells)
    Console().print(table)


def systems(folder: Path) -> list[System]:
    found: list[System] = [Amber(), OldSqueak(Squeak(folder))]
    return [*found, *([GnuSmalltalk()] if gst_program() else [])]


if __name__ == "__main__":
    main()
