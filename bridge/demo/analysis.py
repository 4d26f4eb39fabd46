"""The documents that a demonstration writes, and their JSON schemas."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Shape = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
Row = dict[str, str | int | float | None]


class Document(BaseModel):
    """What all documents of a run say of themselves."""

    model_config = ConfigDict(extra="forbid")

    timestamp: datetime = Field(description="When the analysis ended, with its time zone.")
    analysis: str = Field(min_length=1, description="Its name, which its files have too.")
    description: str = Field(min_length=1)
    model: str = Field(description="The model that was looked at.")


class Usage(BaseModel):
    """Tokens of a completion."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class Summary(BaseModel):
    """A tensor in six numbers, in float64; masked scores, which are infinite, are left out."""

    count: int = Field(ge=1, description="How many finite values there are.")
    mean: float
    standard_deviation: float = Field(ge=0)
    minimum: float
    maximum: float
    norm: float = Field(ge=0, description="The Euclidean norm.")


class Tensor(BaseModel):
    """One activation of one forward pass."""

    tensor: str = Field(description="Its name in the safetensors file.")
    step: int = Field(ge=0, description="The forward pass: 0 runs the prompt.")
    positions: list[int] = Field(description="The first position, and the last.")
    shape: Shape
    dtype: Literal["float32", "float16", "bfloat16"]
    summary: Summary


class Finding(BaseModel):
    """What follows from the tensors, as a table."""

    name: str
    description: str
    rows: list[Row] = Field(min_length=1)


class Analysis(Document):
    """A completion with activations, and what they show."""

    prompt: str
    hooks: list[dict[str, Any]] = Field(min_length=1, description="The hook specs, as sent.")
    generated_text: str
    usage: Usage
    tensors_file: str = Field(description="The safetensors file beside this one.")
    activations: dict[str, list[Tensor]] = Field(description="By hook, in the order of steps.")
    findings: list[Finding] = Field(min_length=1)


class Check(BaseModel):
    """Something that must be so, and what was found."""

    name: str
    expected: str
    found: str
    passed: bool


class Checks(Document):
    """What was tried, and whether all of it was as it must be."""

    checks: list[Check] = Field(min_length=1)
