"""What was measured of a circuit, on one model or on several side by side, as text."""

from collections.abc import Sequence

from bridge.circuits.checking import Check
from bridge.circuits.saved import SavedCircuit


def table(circuit: SavedCircuit, checks: Sequence[Check]) -> str:
    """A line for each number: what it was, what it is on each model, and whether that is near."""
    heading = ["component", "saved"]
    for check in checks:
        heading += [check.model, "within"]
    rows = [heading]
    for index, row in enumerate(checks[0].rows):
        cells = [row.name, f"{row.saved:.3f}"]
        for check in checks:
            now = check.rows[index]
            cells += [f"{now.now:.3f}", f"{'yes' if now.is_within else 'NO'} ({now.tolerance:.3f})"]
        rows.append(cells)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows]
    return "\n".join([f"{circuit.name}, found in {circuit.model.id}", *lines])
