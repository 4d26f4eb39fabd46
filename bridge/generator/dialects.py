"""What each Smalltalk system gets: the classes that its base image lacks, the file formats."""

from dataclasses import dataclass

from bridge.generator.errors import GeneratorError


@dataclass(frozen=True)
class Dialect:
    """One Smalltalk system; its shim is the template `shims/NAME.st`.

    `extras` are class templates that its base image has no match for, `variants` those of clients
    that only this system can have, `needs` the packages of that system which the shim uses,
    `globals` the classes of the system that the code names, `dictionary` the expression for the
    dictionary of its globals, `comment` the template of a class comment in a file-out, `hosted`
    whether smalltalkCI runs the tests on a hosted machine, `views_are_optional` whether the package
    that shows pictures needs more than the base image has.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    extras: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    globals: frozenset[str] = frozenset()
    dictionary: str = "Smalltalk"
    comment: str = "formats/comment_chunk.st"
    hosted: bool = False
    views_are_optional: bool = False


OWN_JSON = ("LMStudioJson", "LMStudioBase64")
OWN_HTTP = ("LMStudioBodyDecoder",)
OWN_FETCH = ("NeuroScopeJavaScript", "NeuroScopeFetch")
EVERYWHERE = frozenset(
    (
        "Array",
        "Association",
        "Collection",
        "Date",
        "Dictionary",
        "Error",
        "Number",
        "Object",
        "OrderedCollection",
    )
) | frozenset(
    (
        "Random",
        "SequenceableCollection",
        "Smalltalk",
        "String",
        "TestCase",
        "TestFailure",
        "Time",
        "Transcript",
    )
)
NATIVE = EVERYWHERE | {"Boolean", "ByteArray", "Character", "Delay", "WriteStream"}
BIT_BLOCK = (
    NATIVE
    | {"BitBlt", "Compiler", "FloatArray", "Form"}
    | {"ConnectionClosed", "NetworkError", "WebClient"}
)
MORPHS = {"Color", "Model", "Morph", "PluggableButtonMorph", "PluggableListMorph"} | {
    "PluggableTextMorph",
    "ScrollPane",
    "SystemWindow",
    "Workspace",
}

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "amber",
            "Amber 0.30 and later",
            ("fileout",),
            variants=("LMStudioPromisingClient", "NeuroScopeAmberSupplement"),
            dictionary="Smalltalk globals",
            globals=EVERYWHERE | {"Compiler", "Importer", "TNativeZeroBasedCollection"},
        ),
        Dialect(
            "cuis",
            "Cuis 7",
            ("cuis",),
            extras=("LMStudioBase64", *OWN_HTTP, *OWN_FETCH),
            needs=("WebClient", "JSON"),
            globals=BIT_BLOCK
            | MORPHS
            | {"ActiveModel", "CodePackageFile", "ImageMorph", "TextModelMorph"}
            | {"CodePackageFile", "Feature", "Json", "JsonObject"},
        ),
        Dialect(
            "gst",
            "GNU Smalltalk 3.2 and later",
            ("fileout",),
            extras=(*OWN_JSON, *OWN_HTTP),
            variants=("NeuroScopeGnuSupplement",),
            comment="formats/comment_message.st",
            globals=NATIVE
            | {
                "ArrayedCollection",
                "Behavior",
                "ReadStream",
                "SystemExceptions.FileError",
                "UndefinedObject",
            }
            | {"FileStream", "ObjectMemory", "PackageLoader", "Sockets.Socket"},
        ),
        Dialect(
            "pharo",
            "Pharo 10 to 13",
            ("tonel",),
            extras=("LMStudioJson",),
            hosted=True,
            views_are_optional=True,
            globals=NATIVE
            | {"Metacello", "NetworkError", "ZnBase64Encoder", "ZnByteArrayEntity"}
            | {"ZnClient", "ImageReadWriter", "SpImagePresenter", "SpStringTableColumn"}
            | {"SpTablePresenter", "SpTextPresenter", "SpPresenter", "SpBoxLayout", "Color"}
            | {"RSBox", "RSCanvas", "RSLabel", "RSLine", "RSPopup"},
        ),
        Dialect(
            "squeak",
            "Squeak 5.3 and 6.0, native or in a browser by SqueakJS",
            ("fileout",),
            extras=(*OWN_JSON, *OWN_HTTP, *OWN_FETCH),
            hosted=True,
            globals=BIT_BLOCK
            | MORPHS
            | {"AlignmentMorph", "FileDirectory", "Sensor", "StandardFileStream"},
        ),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of this name; an unknown name is an error that lists the known ones."""
    if name not in DIALECTS:
        raise GeneratorError(f"no dialect {name!r}; there are {', '.join(DIALECTS)}")
    return DIALECTS[name]
