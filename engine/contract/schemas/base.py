"""What all requests and responses share: their base classes, and numbers within bounds."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

from engine.components import ComponentType
from engine.field_names import BY_NAME

Dtype = Literal["float32", "float16", "bfloat16"]
ActivationFormat = Literal["array", "base64", "metadata", "reference"]
LARGEST = 2**31 - 1
"""Bound of every integer but seeds: what each JSON reader and every index type contains."""
MOST_HOOKS = 1024
MOST_SEQUENCES = 1024
MOST_STOPS = 64
LONGEST_STOP = 1000
MOST_INDICES = 1 << 16
MOST_BIASES = 4096
MOST_MESSAGES = 4096
LONGEST_PATH = 4096
MOST_UNKNOWN = 32
"""Unknown fields of an object that are named each."""
MOST_CHOICES = 128
MOST_AXES = 8
LONGEST_NAME = 200
ABOUT = ("title", "description", "default", "examples")
"""What a JSON schema says about a field beside its type."""
PROGRESS = (
    "Reply with server-sent events: how much is done, again and again, then the result. A client "
    "that goes away ends the work."
)
"""What `stream` means where the reply is one result."""
LARGEST_FLOAT32 = 3.4028234663852886e38


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 8.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def at_most(entries: int) -> BeforeValidator:
    """Count the entries of an object before any of them is looked at."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > entries:
            raise ValueError(f"Input should have at most {entries} entries, not {len(value)}")
        return value

    return BeforeValidator(check)


Whole = BeforeValidator(_whole)
Index = Annotated[int, Field(ge=0, le=LARGEST), Whole]
Count = Annotated[int, Field(ge=1, le=LARGEST), Whole]
One = Annotated[int, Field(ge=1, le=1), Whole]
TokenLimit = Annotated[int, Field(ge=-1, le=LARGEST), Whole]
CacheSize = Annotated[int, Field(ge=8, le=LARGEST), Whole]
Alternatives = Annotated[int, Field(ge=0, le=20), Whole]
Likeliest = Annotated[int, Field(ge=0, le=1000), Whole]
LensTokens = Annotated[int, Field(ge=1, le=100), Whole]
DraftCount = Annotated[int, Field(ge=1, le=64), Whole]
ChoiceCount = Annotated[int, Field(ge=1, le=MOST_CHOICES), Whole]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**64 - 1), Whole]
Float32 = Annotated[float, Field(ge=-LARGEST_FLOAT32, le=LARGEST_FLOAT32)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
LayerName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]

# Named in the document too, for those that generate types from it.
Head = TypeAliasType("Head", Index)
Position = TypeAliasType("Position", Annotated[int, Field(ge=-LARGEST, le=LARGEST), Whole])
StopString = TypeAliasType(
    "StopString", Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
)
TokenId = TypeAliasType("TokenId", Index)
TokenIds = TypeAliasType(
    "TokenIds",
    Annotated[list[TokenId], Field(min_length=1, fail_fast=True)],
)
Heads = Annotated[list[Head], Field(min_length=1, max_length=MOST_INDICES, fail_fast=True)]
Positions = Annotated[list[Position], Field(min_length=1, max_length=MOST_INDICES, fail_fast=True)]
HookPositions = Literal["all", "prompt", "generated"] | Positions
Indices = Annotated[list[Index], Field(min_length=1, max_length=MOST_INDICES, fail_fast=True)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_SEQUENCES)]
Batch = Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_SEQUENCES)]

TokenKey = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Biases = Annotated[
    dict[TokenKey, Bias],
    Field(max_length=MOST_BIASES, json_schema_extra={"additionalProperties": False}),
    at_most(MOST_BIASES),
]


def _no(value: Any) -> Any:
    if value is not False:  # which 0 equals
        raise ValueError("Input should be false")
    return value


No = Annotated[Literal[False], BeforeValidator(_no)]
"""A boolean of which only `false` means something here."""


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("Input should be -1, or at least 1")
    return value


PositiveLimit = Annotated[
    TokenLimit,
    AfterValidator(_not_zero),
    WithJsonSchema(
        {"type": "integer", "minimum": -1, "maximum": LARGEST, "not": {"const": 0}},
    ),
]


NAMES = (*ComponentType, *BY_NAME)
DOTTED = r"[A-Za-z_]\w*(\.[\w*-]+)+"


def _component(name: str) -> str:
    if name not in NAMES and not re.fullmatch(DOTTED, name, re.ASCII):
        raise ValueError(f"no component {name!r}; there are {', '.join(NAMES)}")
    return name


ComponentName = TypeAliasType(
    "ComponentName",
    Annotated[
        str,
        Field(max_length=200),
        AfterValidator(_component),
        WithJsonSchema(
            {
                "type": "string",
                "maxLength": 200,
                "pattern": f"^({'|'.join(map(re.escape, NAMES))}|"
                r"[A-Za-z_][0-9A-Za-z_]*(\.[0-9A-Za-z_*-]+)+)$",
                "description": "A component, such as `residual`; or a name without its layer in "
                "TransformerLens, such as `hook_resid_pre` or `attn.hook_z`; or a module's path "
                "in a layer, such as `mlp.down_proj`.",
                "examples": ["residual", "mlp_hidden", "hook_resid_post", "attn.hook_z"],
            }
        ),
    ],
)


def one_of(one: str, other: str) -> dict[str, Any]:
    """JSON schema: exactly one of two fields is given and not null."""
    null, given = {"type": "null"}, {"not": {"type": "null"}}
    neither = {"properties": {one: null, other: null}}
    both = {"properties": {one: given, other: given}, "required": [one, other]}
    return {"not": {"anyOf": [neither, both]}}


def require_one(model: BaseModel, one: str, other: str) -> None:
    """What `one_of` says, as validation."""
    if (getattr(model, one) is None) == (getattr(model, other) is None):
        raise ValueError(f"give either {one} or {other}")


class Request(BaseModel):
    """Base of all request bodies. A field that may be left out may be null, which is the same."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        fields = cls.model_fields
        if len(body) > len(fields) + MOST_UNKNOWN:
            unknown = [name for name in body if name not in fields]
            raise ValueError(
                f"{len(unknown)} fields do not exist, such as {unknown[0][:LONGEST_NAME]!r}"
            )
        return {
            name: value
            for name, value in body.items()
            if value is not None or name not in fields or fields[name].is_required()
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                _allow_null(field)
        return reference


def _allow_null(field: JsonSchemaValue) -> None:
    """Let the JSON schema of a field allow null too, beside what it allows already."""
    null = {"type": "null"}
    if field.get("type") == "null" or null in field.get("anyOf", ()):
        return
    about = {name: field.pop(name) for name in ABOUT if name in field}
    branches = field.pop("anyOf") if set(field) == {"anyOf"} else [dict(field)]
    field.clear()
    field |= {"anyOf": [*branches, null]} | about


class Response(BaseModel):
    """Base of all response bodies."""

    model_config = ConfigDict(extra="forbid")


class Warned(Response):
    """A reply that may be of less worth than it looks."""

    warnings: list[str] = Field(
        default_factory=list,
        description="Why the numbers may mean less than usual, such as more positions than the "
        "model was made for. Absent if there is nothing to say.",
    )
