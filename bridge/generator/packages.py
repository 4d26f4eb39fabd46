"""The packages of a document in a dialect: which classes, in which order."""

from bridge.generator.dialects import Dialect
from bridge.generator.model import Package, SmalltalkClass
from bridge.generator.operations import Client
from bridge.generator.sources import read_classes
from bridge.generator.templates import Templates

CONNECTION = "NeuroScope-Connection"
CONNECTION_CLASSES = ("LMStudioRecord", "LMStudioResponse", "LMStudioError", "LMStudioConnection")
BRIDGE = "NeuroScope-Bridge"
BRIDGE_CLASSES = ("ScoreRanking", "ActivationTensor", "TensorDecoder", "SafetensorsBody")
BRIDGE_CLIENT = "LMStudioRESTClient"
INSTALLER = "NeuroScope-Installer"


def packages_of(client: Client, dialect: Dialect, templates: Templates) -> tuple[Package, ...]:
    """The connection, and the client with what it needs, superclasses first."""
    connection = Package(
        CONNECTION,
        (
            *_classes(templates, f"shims/{dialect.name}.st"),
            *_from(templates, *dialect.extras, *CONNECTION_CLASSES),
        ),
    )
    own = client.name == BRIDGE_CLIENT
    package = Package(
        BRIDGE if own else client.name,
        (
            *(_from(templates, *BRIDGE_CLASSES) if own else ()),
            *_client_class(client, templates),
        ),
        requires=(connection,),
    )
    return (connection, package)


def installer_of(
    packages: tuple[Package, ...], dialect: Dialect, templates: Templates
) -> Package:
    """The package whose one class files in the others."""
    classes = _classes(
        templates,
        f"installers/{dialect.name}.st",
        packages=packages,
        baseline=baseline_name(packages),
    )
    return Package(INSTALLER, classes)


def baseline_name(packages: tuple[Package, ...]) -> str:
    """The name of the whole for Metacello: that of the client's package, without punctuation."""
    return packages[-1].name.replace("-", "")


def _client_class(client: Client, templates: Templates) -> tuple[SmalltalkClass, ...]:
    special = f"clients/{client.name}.st"
    name = special if templates.has(special) else "clients/client.st"
    return _classes(templates, name, client=client)


def _from(templates: Templates, *names: str) -> tuple[SmalltalkClass, ...]:
    return tuple(c for name in names for c in _classes(templates, f"classes/{name}.st"))


def _classes(templates: Templates, name: str, **context: object) -> tuple[SmalltalkClass, ...]:
    return read_classes(templates.render(name, **context), name)
