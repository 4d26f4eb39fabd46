"""What form a generated text is to have."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.base import Request, Text

MOST_ALTERNATIVES = 4096
FormatName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
GIVEN = ("json", "regex", "choice", "grammar")
"""The fields of `StructuredOutputs`, of which one is given."""
JSON_SCHEMA = (
    "A JSON schema, whose keywords llguidance has: what it cannot hold a text to is refused, and "
    "no address is fetched."
)


class TextFormat(Request):
    type: Literal["text"]


class JsonObjectFormat(Request):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Request):
    name: FormatName
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema", description=JSON_SCHEMA)
    strict: bool = Field(True, description="The text is held to the schema either way.")


class JsonSchemaFormat(Request):
    """JSON that a schema allows."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class StructuredOutputs(Request):
    """A form by vLLM's names: exactly one is given."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in GIVEN
            ]
        }
    )

    json_: dict[str, Any] | None = Field(None, alias="json", description=JSON_SCHEMA)
    regex: Text | None = Field(
        None,
        description="A regular expression that the whole text matches, in the syntax of Rust's "
        "`regex`: no look-around, no references back.",
    )
    choice: Annotated[list[Text], Field(min_length=1, max_length=MOST_ALTERNATIVES)] | None = Field(
        None, description="One of these texts."
    )
    grammar: Text | None = Field(
        None, description="A grammar in llguidance's form of Lark, whose first rule is `start`."
    )

    @model_validator(mode="after")
    def _one(self) -> "StructuredOutputs":
        given = [self.json_, self.regex, self.choice, self.grammar]
        if sum(each is not None for each in given) != 1:
            raise ValueError(f"give one of {', '.join(GIVEN)}")
        return self


class Structured(Request):
    """The form of the text. A text that ends by itself has it; one that `stop` or the token limit
    ends may not. Captured logits are the model's own, before a form rules any token out."""

    response_format: ResponseFormat = Field(
        default_factory=lambda: TextFormat(type="text"),
        description="Text, any JSON object, or JSON that a schema allows. A model whose message "
        "begins with its thinking thinks to the end first.",
    )
    structured_outputs: StructuredOutputs | None = Field(
        None, description="Other forms. Only where `response_format` is text."
    )
