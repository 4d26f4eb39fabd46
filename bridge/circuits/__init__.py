"""Circuits as tests: saved in a portable file, and verified on any model of the same shape."""

from bridge.circuits.checking import Check, CircuitShapeError, Row, verify
from bridge.circuits.format import Tolerances
from bridge.circuits.measuring import NoModelError, measured_circuit
from bridge.circuits.saved import InvalidCircuitError, SavedCircuit
from bridge.circuits.table import table

__all__ = [
    "Check",
    "CircuitShapeError",
    "InvalidCircuitError",
    "NoModelError",
    "Row",
    "SavedCircuit",
    "Tolerances",
    "measured_circuit",
    "table",
    "verify",
]
