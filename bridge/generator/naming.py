"""What the classes and packages of a client are called."""

import re
from collections import Counter
from dataclasses import dataclass

from bridge.generator.api.document import Api
from bridge.generator.errors import GeneratorError
from bridge.generator.names import MAX_LENGTH, class_name, is_class_name, is_package_name
from bridge.generator.problems import Problem, ProblemKind
from bridge.generator.reserved import reserved_globals

BRIDGE_CLIENT = "LMStudioRESTClient"
BRIDGE_PACKAGE = "NeuroScope-Bridge"
OURS = ("LMStudio", "NeuroScope")
"""What the names of the bridge's own classes begin with, where its templates define them."""
RUNTIME = (
    *("Connection", "Record", "Request", "Response", "Error", "Platform", "Installer", "Json"),
    *("Base64", "Text", "Claim", "Server", "Parameter", "Body", "Part", "Multipart"),
    *("Timestamp", "Address", "Call", "Pages", "Events", "Model", "BodyDecoder"),
    *("JavaScript", "Fetch"),
)


@dataclass(frozen=True)
class Choices:
    """Names that a user gave; empty where the document decides."""

    class_name: str = ""
    package: str = ""
    prefix: str = ""
    base_url: str = ""

    def __post_init__(self) -> None:
        for what, text, fits in (
            ("class name", self.class_name, is_class_name),
            ("class prefix", self.prefix, is_class_name),
            ("package name", self.package, is_package_name),
        ):
            if text and not fits(text):
                raise GeneratorError(f"not a {what}: {text!r}")


@dataclass(frozen=True)
class Naming:
    """`prefix` begins the names of the classes that the client rests on; empty for the bridge."""

    class_name: str
    package: str
    prefix: str
    base_url: str
    usual_server: str  # of the document, whatever a user chose in its place

    @property
    def is_bridge(self) -> bool:
        """Whether this is the bridge's own API, which has more packages."""
        return not self.prefix

    @property
    def base_prefix(self) -> str:
        """What the names of the classes begin with that the client rests on."""
        return self.prefix or "LMStudio"

    @property
    def connection(self) -> str:
        """The superclass of the client."""
        return f"{self.base_prefix}Connection"


def naming_of(api: Api, choices: Choices, problems: list[Problem]) -> Naming:
    """The names for a document, a user's choices first; a name that is taken gets a suffix."""
    usual = _usual_server(api)
    base_url = (choices.base_url or usual).rstrip("/")
    if base_url and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", base_url):
        text = f"a relative address, to be completed by baseUrl: or --base-url: {base_url!r}"
        problems.append(Problem(ProblemKind.DOUBTFUL, "#/servers", text))
    if api.class_name == BRIDGE_CLIENT and not (choices.class_name or choices.prefix):
        return Naming(BRIDGE_CLIENT, choices.package or BRIDGE_PACKAGE, "", base_url, usual)
    name = choices.class_name or _class_name(api, problems)
    if choices.class_name and _is_taken(name):
        raise GeneratorError(f"the class name {name} is taken by a class of the image or bridge")
    prefix = choices.prefix or name.removesuffix("Client") or name
    if any(_is_taken(f"{prefix}{role}") for role in RUNTIME):
        if choices.prefix:
            raise GeneratorError(f"classes of the image or bridge begin with {prefix}")
        prefix = f"{prefix}Api"
    return Naming(name, choices.package or name, prefix, base_url, usual)


def _usual_server(api: Api) -> str:
    """The document's first server; if it names none, the one that most operations name."""
    if api.servers:
        return api.servers[0].url
    named = Counter(operation.servers[0].url for operation in api.operations if operation.servers)
    return named.most_common(1)[0][0] if named else ""


def _class_name(api: Api, problems: list[Problem]) -> str:
    wanted = api.class_name
    if wanted and not is_class_name(wanted):
        text = f"not a class name, so the title names the class: {wanted!r}"
        problems.append(Problem(ProblemKind.RENAMED, "#/info/x-smalltalk-class", text))
        wanted = ""
    if not wanted:
        try:
            wanted = f"{class_name(api.title)}Client"
        except ValueError:
            wanted = "UntitledClient"
    name = f"Api{wanted}" if wanted.startswith(OURS) else wanted
    if name in reserved_globals():
        name = f"{wanted.removesuffix('Client')}ApiClient"
    if name != wanted:
        text = f"the class {wanted} is called {name}: an image may have a {wanted} already"
        problems.append(Problem(ProblemKind.RENAMED, "#/info/title", text))
    elif not api.class_name and (not api.title.isascii() or len(api.title) > MAX_LENGTH):
        text = f"the class is called {name} after {api.title[:MAX_LENGTH]!r}"
        problems.append(Problem(ProblemKind.RENAMED, "#/info/title", text))
    return name


def _is_taken(name: str) -> bool:
    return name in reserved_globals() or name.startswith(OURS)
