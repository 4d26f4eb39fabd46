"""What a model class is rendered from: its fields, and what their values are in Smalltalk."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Type:
    """What a value is in Smalltalk.

    `kind` is `value` (as JSON has it), `model`, `list`, `map`, `date`, `timestamp` or `bytes`; `of`
    is the type of the elements of a list or map, `text` the name that a comment has for it.
    """

    kind: str
    text: str
    of: "Type | None" = None
    model: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether a value is the same in JSON and in Smalltalk."""
        if self.kind in ("list", "map"):
            return self.of is None or self.of.is_plain
        return self.kind == "value"


@dataclass(frozen=True)
class Field:
    """One member of an object; `choices` are the values that it may have, as JSON, if limited."""

    name: str
    accessor: str
    type: Type
    required: bool = False
    nullable: bool = False
    deprecated: bool = False
    meaning: str = ""
    choices: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """Type and meaning, as the comment of an accessor has them."""
        words = [f"<{self.type.text}>"]
        words += ["or nil"] if self.nullable else []
        words += [f"one of {', '.join(self.choices)}"] if self.choices else []
        words += ["required"] if self.required else []
        words += ["deprecated"] if self.deprecated else []
        return ", ".join(words) + (f": {self.meaning}" if self.meaning else "")


@dataclass(frozen=True)
class Model:
    """One class. `fields` are its own, `all_fields` those of its superclasses too.

    `variants` are the classes that an object of this schema may be of in place of this one, and
    `mapping` says which by the values of the member `discriminator`, if there is one.
    """

    name: str
    superclass: str
    schema: str
    meaning: str = ""
    fields: tuple[Field, ...] = ()
    all_fields: tuple[Field, ...] = ()
    variants: tuple[str, ...] = ()
    discriminator: str = ""
    mapping: tuple[tuple[str, str], ...] = ()
    additional: Type | None = None
    inherits_variants: bool = field(default=False)

    @property
    def needs_class_choice(self) -> bool:
        """Whether it says by itself which class an object is of."""
        return bool(self.mapping or self.variants or self.inherits_variants)

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.all_fields if each.required)
