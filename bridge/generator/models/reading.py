"""From schemas to models: which classes there are, and what they inherit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.api.references import Node
from bridge.generator.api.schemas import Schema, schema_at
from bridge.generator.errors import DocumentError, GeneratorError
from bridge.generator.models.describing import FORMATS, type_name
from bridge.generator.models.model import Field, Model, Type
from bridge.generator.names import PSEUDO_VARIABLES, class_name, numbered, words_of
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.reserved import reserved_globals, reserved_selectors
from bridge.generator.text import plain

Identity = tuple[str, str]
COMPONENTS = "#/components/schemas/"
MAX_MEANING = 300
HARMLESS = frozenset(("name", "value", "size"))
"""What every object understands, and many classes of the images answer with a field of theirs."""


@dataclass
class Models:
    """The models of a document, superclasses first, and how a schema is read with them."""

    prefix: str
    patterns: tuple[str, ...]
    taken_classes: frozenset[str] = frozenset()
    taken_selectors: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    _components: dict[Identity, str] = field(default_factory=dict)
    _names: dict[Identity, str] = field(default_factory=dict)
    _schemas: dict[Identity, Schema] = field(default_factory=dict)
    _made: dict[Identity, Model] = field(default_factory=dict)

    def all(self) -> tuple[Model, ...]:
        return tuple(self._made.values())

    def type_of(self, schema: Schema | None, inline_name: str = "") -> Type:
        """The type of a schema's values; an object inside of it gets a class of this name."""
        schema = _unwrapped(schema)
        if schema is None:
            return Type("value", "Object")
        is_new = schema.identity not in self._names and schema.identity not in self._components
        if is_new and inline_name and _is_inline_model(schema):
            self._name(schema, _component_name(schema) or inline_name)
        if name := self._names.get(schema.identity):
            return Type("model", name, model=name)
        if "array" in schema.types and schema.types <= {"array", "null"}:
            element = self.type_of(schema.items, inline_name and f"{inline_name}Item")
            return Type("list", f"Array of {element.text}", element)
        is_map = schema.types and schema.types <= {"object", "null"} and not schema.properties
        if is_map and isinstance(schema.additional, Schema):
            value = self.type_of(schema.additional, inline_name and f"{inline_name}Value")
            return Type("map", f"record of {value.text}", value)
        if schema.types and schema.types <= {"string", "null"} and schema.format in FORMATS:
            text = FORMATS[schema.format]
            if text == "Timestamp":
                return Type("timestamp", f"{self.prefix}Timestamp")
            return Type("date" if text == "Date" else "bytes", text)
        return Type("value", type_name(schema))

    def ask_for(self, components: dict[str, Schema]) -> None:
        """Ask for classes of those of a document's components that are wanted objects."""
        self._components = {schema.identity: name for name, schema in components.items()}
        for identity, name in self._components.items():
            schema = components[name]
            if self._is_wanted(name) and identity not in self._names and _is_model(schema):
                self._name(schema, name)

    def of_operations(self, operations: Iterable[Operation]) -> dict[str, Type]:
        """Make all models; return what operations answer, by route, where a model is in it, or a
        date. Where no model is made, answers stay as they come."""
        found = {}
        for operation in operations:
            stem = operation.id or f"{operation.verb.lower()} {operation.path}"
            body = operation.body.json if operation.body else None
            answer = operation.json_answer
            if body:
                self.type_of(body.schema, self._inline(f"{stem} body"))
            if answer:
                found[operation.route] = self.type_of(answer.schema, self._inline(f"{stem} answer"))
        self.finish()
        return {route: kind for route, kind in found.items() if self._made and not kind.is_plain}

    def _is_wanted(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def _inline(self, name: str) -> str:
        """The name of an object without one, if it is wanted; else empty."""
        return name if "*" in self.patterns else ""

    def finish(self) -> None:
        """Make the models of all classes that were asked for, and of the objects within them."""
        while waiting := [i for i in self._names if i not in self._made]:
            for identity in waiting:
                self._make(identity)
        for identity, model in [*self._made.items()]:
            self._made[identity] = self._with_subclasses(identity, model)

    def _name(self, schema: Schema, wanted: str) -> None:
        try:
            natural = f"{self.prefix}{class_name(wanted)}"
        except ValueError:
            natural = f"{self.prefix}Model"
        taken = {*self._names.values(), *self.taken_classes, *reserved_globals()}
        name = natural if natural not in taken else numbered(f"{natural}Model", taken)
        if name != natural:
            text = f"its class is called {name}: there is another {natural}"
            self.problems.append(Problem(ProblemKind.RENAMED, schema.node.where, text))
        self._names[schema.identity] = name
        self._schemas[schema.identity] = schema

    def _make(self, identity: Identity) -> Model:
        if identity in self._made:
            return self._made[identity]
        schema, name = self._schemas[identity], self._names[identity]
        parent = self._parent(schema)
        above = self._make(parent.identity) if parent else None
        inherited = {each.name: each for each in above.all_fields} if above else {}
        own = self._fields(schema, name, inherited)
        seen = {each.name for each in own}
        variants = self._variants(schema, name)
        discriminator = schema.node.object("discriminator")
        additional = schema.additional
        model = Model(
            name=name,
            superclass=above.name if above else f"{self.prefix}Model",
            schema=_component_name(schema) or name,
            meaning=_meaning(schema),
            fields=own,
            all_fields=(*(e for e in inherited.values() if e.name not in seen), *own),
            variants=variants,
            discriminator=discriminator.text("propertyName") if discriminator else "",
            additional=(
                self.type_of(additional, f"{name.removeprefix(self.prefix)}Value")
                if isinstance(additional, Schema)
                else None
            ),
            inherits_variants=above is not None and above.needs_class_choice,
        )
        self._made[identity] = model
        return model

    def _parent(self, schema: Schema) -> Schema | None:
        """The first schema of `allOf` that has a class, unless it inherits from this one."""
        for each in _listed(schema, "allOf"):
            above = {part.identity for part in each.parts}
            if each.identity in self._names and schema.identity not in above:
                return each
        return None

    def _fields(self, schema: Schema, name: str, inherited: dict[str, Field]) -> tuple[Field, ...]:
        """The fields that the superclass does not have, or has with another type or meaning."""
        taken = (reserved_selectors() - HARMLESS) | self.taken_selectors | PSEUDO_VARIABLES
        above = {each.accessor for each in inherited.values()}
        members = {n: m for n, m in schema.properties.items() if not m.never and n not in inherited}
        words = _accessors(members, taken, above)
        found = []
        stem = name.removeprefix(self.prefix)
        for (member_name, member), accessor in zip(members.items(), words, strict=True):
            if accessor in (f"{member_name}Value", "value") and member_name != "value":
                text = f"its accessor is called {accessor}: every object understands the name"
                self.problems.append(Problem(ProblemKind.RENAMED, member.node.where, text))
            found.append(
                Field(
                    member_name,
                    accessor,
                    self.type_of(member, f"{stem}{accessor[0].upper()}{accessor[1:]}"),
                    member_name in schema.required,
                    "null" in member.types,
                    member.deprecated,
                    _meaning(member),
                    member.enum or (),
                )
            )
        # A subclass may require what its superclass leaves open, or limit its values.
        for each in inherited.values():
            member = schema.properties[each.name]
            narrowed = replace(
                each,
                required=each.required or each.name in schema.required,
                choices=member.enum or each.choices,
            )
            if narrowed != each:
                found.append(narrowed)
        return tuple(found)

    def _variants(self, schema: Schema, name: str) -> tuple[str, ...]:
        """The classes of the members of `oneOf` and `anyOf`, if all of them are objects."""
        stem = name.removeprefix(self.prefix)
        found = []
        for number, each in enumerate(schema.variants, 1):
            if each.identity == schema.identity:
                continue
            variant = self.type_of(each, f"{stem}{number}")
            if variant.kind == "model" and variant.model not in found:
                found.append(variant.model)
        return tuple(found)

    def _with_subclasses(self, identity: Identity, model: Model) -> Model:
        """A model with what the values of its discriminator mean."""
        if not model.discriminator:
            return model
        schema = self._schemas[identity]
        targets = {v.identity: v for v in schema.variants} or {
            i: s
            for i, s in self._schemas.items()
            if i != identity and any(part.identity == identity for part in s.parts)
        }
        found = {
            _component_name(each): self._names[i]
            for i, each in targets.items()
            if i in self._names and _component_name(each)
        }
        node = schema.node.object("discriminator")
        mapping = node.entries("mapping") if node else {}
        for value, target in mapping.items():
            try:
                found_name = self._mapped(schema.node, str(target.value))
            except DocumentError as error:
                self.problems.append(Problem(ProblemKind.DOUBTFUL, error.pointer, error.problem))
                continue
            if found_name:
                found[value] = found_name
        return replace(model, mapping=tuple(found.items()))

    def _mapped(self, node: Node, target: str) -> str | None:
        """The class that an entry of a mapping names: by a reference, or by a component's name."""
        reference = target if "/" in target or "#" in target else f"{COMPONENTS}{target}"
        return self._names.get(schema_at(node.documents.target(node, reference)).identity)


def models_of(
    api: Api,
    patterns: tuple[str, ...],
    prefix: str,
    taken_classes: frozenset[str],
    taken_selectors: frozenset[str],
) -> Models:
    """The models of those schemas whose names fit a pattern.

    Raises GeneratorError for a pattern that fits no schema.
    """
    models = Models(prefix, patterns, taken_classes, taken_selectors)
    components = dict(_components(api))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in components) and pattern != "*":
            listed = ", ".join([*components][:20]) or "none"
            raise GeneratorError(f"--models {pattern} fits no schema; there are {listed}")
    models.ask_for(components)
    return models


def _components(api: Api) -> Iterator[tuple[str, Schema]]:
    holder = api.node.object("components")
    for name, node in (holder.entries("schemas") if holder else {}).items():
        schema = schema_at(node)
        if not schema.broken:
            yield name, schema


def _is_model(schema: Schema) -> bool:
    """Whether the values of a component are objects."""
    return _is_inline_model(schema) or schema.types - {"null"} == {"object"}


def _is_inline_model(schema: Schema) -> bool:
    """Whether a schema says what is in its objects, by itself or by its variants."""
    if not schema.types <= {"object", "null"}:
        return False
    if schema.properties:
        return True
    return bool(schema.variants) and schema.types - {"null"} == {"object"}


def _unwrapped(schema: Schema | None) -> Schema | None:
    """The one schema that another does nothing but name: by `allOf`, or beside null."""
    seen = set()
    while schema is not None and schema.identity not in seen and not schema.node.get("properties"):
        seen.add(schema.identity)
        inner = [each for key in ("allOf", "oneOf", "anyOf") for each in _listed(schema, key)]
        inner = [each for each in inner if each.types != {"null"}]
        if len(inner) != 1:
            break
        schema = inner[0]
    return schema


def _listed(schema: Schema, key: str) -> list[Schema]:
    node = schema.node.get(key)
    if node is None or not isinstance(node.value, list):
        return []
    return [schema_at(node.child(i)) for i, v in enumerate(node.value) if isinstance(v, dict)]


def _component_name(schema: Schema) -> str:
    """The name of a schema among its document's components; empty if it is not there."""
    pointer = schema.node.pointer
    name = pointer.removeprefix(COMPONENTS)
    return "" if name == pointer or "/" in name else name.replace("~1", "/").replace("~0", "~")


def _accessors(members: dict[str, Schema], taken: frozenset[str], above: set[str]) -> list[str]:
    """The name of each member's accessor: it and that of its setter are not taken."""
    found: list[str] = []
    for word in words_of(members):
        name = word
        if name in taken or f"{name}:" in taken:
            name = f"{name}Value"
        found.append(numbered(name, {*found, *above, *(t for t in taken)}))
    return found


def _meaning(schema: Schema) -> str:
    text = plain(schema.description)
    return text if len(text) <= MAX_MEANING else f"{text[:MAX_MEANING].rsplit(' ', 1)[0]} ..."
