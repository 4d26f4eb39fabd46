"""A circuit with all that is needed to verify it, as a file of JSON."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from bridge.circuits.format import (
    Component,
    Example,
    Method,
    Metric,
    Model,
    Part,
    Scores,
    Tolerances,
)
from bridge.errors import BridgeError


class InvalidCircuitError(BridgeError):
    """What is no circuit that can be saved or verified; the message names each wrong field."""


class SavedCircuit(Part):
    """A circuit, the examples that it was found over, and what was measured over them."""

    format: Literal["neuroscope-circuit"]
    format_version: Literal[1]
    name: str = Field(min_length=1, description="What the circuit does.")
    description: str = Field(description="How it was found.")
    model: Model
    examples: list[Example] = Field(min_length=1)
    metric: Metric
    method: Method
    components: list[Component] = Field(min_length=1, description="Each of them once.")
    scores: Scores
    tolerances: Tolerances

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [each.name for each in self.components]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"components: {', '.join(twice)} is given twice")
        return self

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The circuit of these fields. Raises InvalidCircuitError."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise InvalidCircuitError(_told(error)) from error

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The circuit in a file. Raises InvalidCircuitError; OSError if it cannot be read."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except ValidationError as error:
            raise InvalidCircuitError(f"{path}: {_told(error)}") from error

    def save(self, path: Path | str) -> None:
        """Write it into a file, in place of what is there."""
        Path(path).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _told(error: ValidationError) -> str:
    """What is wrong with each field, in one line."""
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
        for each in error.errors()
    )
