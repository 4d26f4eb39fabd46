"""The packages of a document in a dialect: which classes, in which order."""

from dataclasses import replace
from typing import Any

from bridge import __version__
from bridge.generator.client import Client
from bridge.generator.client_tests import tests_of
from bridge.generator.dialects import OWN_FETCH, OWN_HTTP, OWN_JSON, Dialect
from bridge.generator.guide import examples_of, with_examples
from bridge.generator.methods import BaseClass
from bridge.generator.model import Package, SmalltalkClass
from bridge.generator.naming import RUNTIME, Naming
from bridge.generator.prefixing import renamed
from bridge.generator.sources import read_classes
from bridge.generator.templates import Templates
from bridge.installing import INSTALLATIONS, USUAL_ADDRESS

PREFIX = "NeuroScope"  # of the classes that NeuroScope's documents do not name
CONNECTION = "NeuroScope-Connection"
CLAIM = "NeuroScopeClaim"  # for packages some of whose classes step aside
CONNECTION_CLASSES = (
    "NeuroScopeText",
    CLAIM,
    "LMStudioRecord",
    "LMStudioParameter",
    "LMStudioPart",
    "LMStudioMultipart",
    "LMStudioBody",
    "LMStudioRequest",
    "LMStudioServer",
    "LMStudioTimestamp",
    "LMStudioEvents",
    "LMStudioResponse",
    "LMStudioError",
    "LMStudioAddress",
    "LMStudioCall",
    "LMStudioPages",
    "LMStudioConnection",
)
MODEL_BASE = "LMStudioModel"  # of the classes that --models asks for
BRIDGE_CLASSES = (
    "NeuroScopeImageSupplement",
    "NeuroScopeNames",
    "NeuroScopeScoreRanking",
    "NeuroScopeFloatMath",
    "ActivationTensor",
    "NeuroScopeTensorDecoder",
    "NeuroScopeSafetensorsBody",
    "NeuroScopeCapturedActivations",
)
BRIDGE_YIELDING = frozenset(["ActivationTensor", "ShapeMismatchError", "InvalidDataError"])
CORE = "NeuroScope-Core"
CORE_CLASSES = (
    "NeuroScopeErrors",
    "NeuroScopeRandom",
    "NeuroScopeProgress",
    "NeuroScopeHookPoint",
    "ActivationCache",
    "NeuroScopeChoice",
    "NeuroScopeLayerChoice",
    "NeuroScopeInterventionType",
    "Hook",
    "ActivationHook",
    "CacheStrategy",
    "CachingHook",
    "InterventionHook",
    "NeuroScopeHookTiming",
    "NeuroScopeHookMetrics",
    "HookManager",
    "NeuroScopeLiveSession",
    "NeuroScopeModelConfig",
    "NeuroScopeTransformerTokenizer",
    "ModelOutput",
    "CachedModelOutput",
    "NeuroScopePassCache",
    "NeuroScopeForwardPass",
    "NeuroScopeModelCompletion",
    "TransformerLayer",
    "AttentionLayer",
    "MLPLayer",
    "EmbeddingLayer",
    "NeuroScopeWeights",
    "NeuroScopeLogitLens",
    "NeuroScopeCapturedTexts",
    "TransformerModel",
    "NeuroScopeTextPlot",
    "NeuroScopeForkedPass",
    "NeuroScopePassDebugger",
    "NeuroScopeDeflater",
    "NeuroScopePngEncoder",
    "NeuroScopeFont",
    "ColorScheme",
    "NeuroScopeColorScale",
    "NeuroScopeMark",
    "NeuroScopeSvgCanvas",
    "NeuroScopeRaster",
    "NeuroScopeScreen",
    "NeuroScopePicture",
    "NeuroScopeHeatmapDrawing",
    "NeuroScopeHeatmap",
    "NeuroScopeExport",
    "NeuroScopeCircuitComponent",
    "NeuroScopeCircuitExample",
    "NeuroScopeCircuitDataset",
    "NeuroScopeAttentionPattern",
    "NeuroScopeAttentionAnalysis",
    "NeuroScopeAttentionComparison",
    "NeuroScopeHeadBehavior",
    "AttentionAnalyzer",
    "AttentionVisualizer",
    "DataBridge",
    "JSInterface",
    "ActivationAnalyzer",
    "NeuroScopeTokenActivation",
    "NeuroScopeActivatingExample",
    "NeuronAnalyzer",
    "SparseFeature",
    "SparseFeatureHook",
    "NeuroScopeTokenFeatures",
    "FeatureSet",
    "NeuroScopeLinearSystem",
    "NeuroScopeLogisticFit",
    "NeuroScopeSoftmaxFit",
    "NeuroScopeFeatureImportance",
    "NeuroScopeProbeTraining",
    "NeuroScopeProbeTrainer",
    "NeuroScopeLabelCounts",
    "LinearProbe",
    "ProbeHook",
    "NeuroScopeCircuitConnection",
    "Circuit",
    "CircuitVisualizer",
    "NeuroScopeCircuitValidation",
    "NeuroScopeCircuitTrial",
    "NeuroScopeCircuitVerification",
    "NeuroScopeCircuitMethod",
    "NeuroScopeCircuitMetric",
    "NeuroScopePatchingStrategy",
    "NeuroScopeCircuitSweep",
    "NeuroScopeCircuitExperiment",
    "NeuroScopeCircuitCheck",
    "NeuroScopeSavedCircuit",
    "NeuroScopeEdgeFaithfulness",
    "NeuroScopeEdgeExperiment",
    "NeuroScopeCircuitDiscovery",
    "NeuroScopeLogitMetric",
    "InterventionExperiment",
    "NeuroScopeResidualShares",
    "NeuroScopeCircuitComparison",
    "NeuroScopeCircuitCheckpoint",
    "NeuroScopeCircuitEvolution",
    "NeuroScopeDiscoveryFailure",
    "NeuroScopeDiscoveryParameters",
    "CircuitFinder",
    "CircuitLibrary",
    "Direction",
    "SteeringVector",
    "NeuroScopeLogitAttribution",
    "NeuroScopeHookEffect",
    "NeuroScopeBrowserNode",
    "NeuroScopeModelBrowser",
    "InteractiveLens",
)
VIEWS = "NeuroScope-Views"
TESTS = "NeuroScope-Tests"
TEST_CLASSES = (
    "NeuroScopeTestCase",
    "NeuroScopeTestRun",
    "NeuroScopeImageSupplementTest",
    "NeuroScopeConnectionTest",
    "NeuroScopeActivationTensorTest",
    "NeuroScopeHookTest",
    "NeuroScopeActivationCacheTest",
    "NeuroScopePassCacheTest",
    "NeuroScopeAttentionPatternTest",
    "NeuroScopePictureTest",
    "NeuroScopeLinearProbeTest",
    "NeuroScopeProgressTest",
    "NeuroScopeCircuitTest",
)
SERVER_TESTS = "NeuroScope-Server-Tests"
SERVER_TEST_CLASSES = (
    "NeuroScopeServerTest",
    "NeuroScopeClientTest",
    "NeuroScopeTransformerModelTest",
    "NeuroScopeModelHooksTest",
    "NeuroScopeLayerTest",
    "NeuroScopeInterventionTest",
    "NeuroScopePassCachingTest",
    "NeuroScopePassDebuggerTest",
    "NeuroScopeProgressServerTest",
    "NeuroScopeAnalysisTest",
    "NeuroScopeCircuitFinderTest",
    "NeuroScopeSteeringTest",
    "NeuroScopeCircuitTestCase",
    "NeuroScopeSavedCircuitTest",
)
HELP = "NeuroScope-Help"
INSTALLER = "NeuroScope-Installer"


def base_class(templates: Templates) -> BaseClass:
    """What the superclasses of clients and of options have: nothing can be called the same."""
    connection_classes = _from(templates, *CONNECTION_CLASSES, MODEL_BASE, bridge=False)
    classes = {cls.name: cls for cls in connection_classes}
    connection, record = classes["LMStudioConnection"], classes["LMStudioRecord"]
    return BaseClass(
        frozenset(method.selector for method in connection.methods),
        frozenset(connection.variables),
        frozenset(method.selector for method in record.methods),
        frozenset(method.selector for method in classes[MODEL_BASE].methods),
        frozenset(
            name.removeprefix("LMStudio").removeprefix(PREFIX)
            for name in (
                *classes,
                *OWN_JSON,
                *OWN_HTTP,
                *OWN_FETCH,
                *(f"{PREFIX}{role}" for role in RUNTIME),
            )
        ),
    )


def packages_of(client: Client, dialect: Dialect, templates: Templates) -> tuple[Package, ...]:
    """The connection, the client with what it needs, NeuroScope's classes; superclasses first."""
    own = client.naming.is_bridge
    connection = renamed(
        Package(
            CONNECTION,
            (
                *_classes(templates, f"shims/{dialect.name}.st", bridge=own),
                *_from(templates, *dialect.extras),
                *_from(
                    templates, *(c for c in CONNECTION_CLASSES if own or c != CLAIM), bridge=own
                ),
                *(_from(templates, MODEL_BASE) if client.models else ()),
            ),
        ),
        client.naming,
    )
    package = Package(
        client.naming.package,
        (
            *(_from(templates, *BRIDGE_CLASSES, client=client, dialect=dialect) if own else ()),
            *_model_classes(client, templates),
            *_client_class(client, templates),
            *(_from(templates, *dialect.variants) if own else ()),
        ),
        requires=(connection,),
        yielding=BRIDGE_YIELDING if own else frozenset(),
    )
    if not own:
        tests = Package(
            f"{client.naming.package}-Tests",
            _client_tests(client, templates),
            requires=(connection, package),
        )
        return (connection, package, tests)
    examples, pragma = examples_of(templates), dialect.example_pragma
    package = replace(package, classes=with_examples(package.classes, examples, pragma))
    base = (connection, package)
    plain = _from(templates, *CORE_CLASSES, folder="neuroscope", dialect=dialect)
    classes = with_examples(plain, examples, pragma)
    documented = frozenset(c.name for c in classes if not c.name.startswith(PREFIX))
    core = Package(CORE, classes, requires=base, yielding=documented)
    shown = f"views/{dialect.name}.st"
    views = (
        (
            Package(
                VIEWS,
                _classes(templates, shown),
                requires=(*base, core),
                optional=dialect.views_are_optional,
            ),
        )
        if templates.has(shown)
        else ()
    )
    tests = Package(TESTS, _from(templates, *TEST_CLASSES, folder="tests"), requires=(*base, core))
    server_tests = Package(
        SERVER_TESTS,
        _from(templates, *SERVER_TEST_CLASSES, folder="tests/server", client=client),
        requires=(*base, core, tests),
    )
    guide = guide_of(dialect, templates)
    book = (
        (Package(HELP, _classes(templates, "guide/help.st", **guide), optional=True),)
        if dialect.has_help
        else ()
    )
    return (*base, core, *views, tests, server_tests, *book)


def guide_of(dialect: Dialect, templates: Templates) -> dict[str, Any]:
    """What the workspace and the help book of a dialect are rendered from."""
    line = INSTALLATIONS[dialect.name].from_server(USUAL_ADDRESS, dialect.name)
    return {"dialect": dialect, "examples": examples_of(templates), "installation": line}


def readme_of(
    client: Client, packages: tuple[Package, ...], dialect: Dialect, templates: Templates
) -> str:
    """What a user of a foreign client reads first."""
    return templates.render(
        "clients/README.md",
        client=client,
        dialect=dialect,
        packages=packages,
        baseline=baseline_name(packages),
        operations=len({method.operation.route for method in client.methods}),
        tests=sorted(tests_of(client), key=lambda test: len(test.arguments)),
        connection=client.naming.connection,
        prefix=client.naming.base_prefix,
    )


def installer_of(
    packages: tuple[Package, ...], naming: Naming, dialect: Dialect, templates: Templates
) -> Package:
    """The package whose one class files in the others."""
    classes = _classes(
        templates,
        f"installers/{dialect.name}.st",
        dialect=dialect,
        packages=packages,
        baseline=baseline_name(packages),
    )
    return renamed(Package(INSTALLER, classes), naming)


def baseline_of(
    packages: tuple[Package, ...],
    naming: Naming,
    dialect: Dialect,
    scheme: str,
    templates: Templates,
) -> Package:
    """Metacello's baseline of the packages; `scheme` is that of the repository's address."""
    name = baseline_name(packages)
    classes = _classes(
        templates,
        "formats/baseline.st",
        packages=packages,
        dialect=dialect,
        scheme=scheme,
        baseline=name,
    )
    return renamed(Package(f"BaselineOf{name}", classes), naming)


def baseline_name(packages: tuple[Package, ...]) -> str:
    """The name of the whole for Metacello: that of the client's package, without punctuation."""
    return packages[1].name.replace("-", "")


def _client_tests(client: Client, templates: Templates) -> tuple[SmalltalkClass, ...]:
    servers = dict.fromkeys(m.server.template for m in client.methods if m.server)
    return _classes(
        templates,
        "clients/tests.st",
        client=client,
        tests=tests_of(client),
        servers=[*servers],
        spec=client.api.source,
        connection=client.naming.connection,
        prefix=client.naming.base_prefix,
    )


def _model_classes(client: Client, templates: Templates) -> tuple[SmalltalkClass, ...]:
    names = {"connection": client.naming.connection, "prefix": client.naming.base_prefix}
    return tuple(
        cls
        for model in client.models
        for cls in _classes(templates, "clients/model.st", client=client, model=model, **names)
    )


def _client_class(client: Client, templates: Templates) -> tuple[SmalltalkClass, ...]:
    special = f"clients/{client.name}.st"
    name = special if templates.has(special) else "clients/client.st"
    names = {"connection": client.naming.connection, "prefix": client.naming.base_prefix}
    options = [
        cls
        for each in client.options_classes
        for cls in _classes(templates, "clients/options.st", client=client, options=each, **names)
    ]
    return (
        *options,
        *_classes(templates, name, client=client, distribution=__version__, **names),
    )


def _from(
    templates: Templates, *names: str, folder: str = "classes", **context: object
) -> tuple[SmalltalkClass, ...]:
    files = [f"{folder}/{name}.st" for name in names]
    return tuple(c for file in files for c in _classes(templates, file, **context))


def _classes(templates: Templates, name: str, **context: object) -> tuple[SmalltalkClass, ...]:
    return read_classes(templates.render(name, **context), name)
