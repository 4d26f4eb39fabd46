"""The client of an API: what its classes are rendered from."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.api.servers import Server
from bridge.generator.comments import fields_comment_of
from bridge.generator.credentials import Credentials, credentials_of
from bridge.generator.methods import BaseClass, ClientMethod, Methods
from bridge.generator.models import Model, Type, models_of
from bridge.generator.naming import Choices, Naming, naming_of
from bridge.generator.options import OptionsClass
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.unsupported import why_unsupported


@dataclass(frozen=True)
class FieldName:
    """Another name for a component's output, or for its input, without its layer."""

    name: str
    component: str
    is_input: bool


@dataclass(frozen=True)
class Client:
    """What the class of one API is rendered from; `problems` include those of the document."""

    api: Api
    naming: Naming
    methods: tuple[ClientMethod, ...]
    options_classes: tuple[OptionsClass, ...]
    credentials: Credentials
    models: tuple[Model, ...] = ()
    answers: dict[str, Type] = field(default_factory=dict)  # by route, where models are in it
    problems: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.naming.class_name

    @property
    def base_url(self) -> str:
        return self.naming.base_url

    @property
    def title(self) -> str:
        return self.api.title

    @property
    def version(self) -> str:
        return self.api.version

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.api.servers

    @property
    def field_names(self) -> tuple[FieldName, ...]:
        """The names of the extension `x-field-names`."""
        return tuple(
            FieldName(node.text("name"), node.text("component"), node.flag("is_input"))
            for node in self.api.node.items("x-field-names")
        )

    def fields_comment_of(self, operation: Operation) -> str:
        """What a method's comment says of the fields that it sends and answers."""
        return fields_comment_of(operation, self.answers.get(operation.route))

    def selectors_of(self, route: str) -> tuple[str, ...]:
        """The selectors of one operation."""
        return tuple(m.pattern.selector for m in self.methods if m.operation.route == route)


def client_of(
    api: Api,
    base: BaseClass,
    choices: Choices | None = None,
    wanted: Callable[[Operation], bool] | None = None,
    models: tuple[str, ...] = (),
) -> Client:
    """The client of a document, or of those of its operations that are wanted.

    `models` are patterns of the names of schemas that get a class. What cannot be rendered is left
    out, and a problem says so.
    """
    problems: list[Problem] = []
    naming = naming_of(api, choices or Choices(), problems)
    supported = []
    for operation in api.operations:
        if wanted and not wanted(operation):
            continue
        if why := why_unsupported(operation):
            problems.append(Problem(ProblemKind.SKIPPED, operation.pointer, why))
        else:
            supported.append(operation)
    methods = Methods(base, naming, problems)
    methods.add(supported)
    credentials = credentials_of(api, base.selectors | methods.found.keys(), problems)
    made = models_of(
        api,
        models,
        naming.base_prefix,
        frozenset((naming.class_name, *(f"{naming.base_prefix}{role}" for role in base.classes)))
        | {each.name for each in methods.options_classes},
        base.model,
    )
    answers = made.of_operations(
        {m.operation.route: m.operation for m in methods.found.values()}.values()
    )
    problems += made.problems
    return Client(
        api,
        naming,
        tuple(methods.found.values()),
        tuple(methods.options_classes),
        credentials,
        made.all(),
        answers,
        (*api.problems, *problems),
    )
