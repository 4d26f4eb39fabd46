"""Every file format carries the same classes and methods, each in its own envelope."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from foreign import our_base

from bridge.cli import main
from bridge.generator.api.document import read_api
from bridge.generator.client import client_of
from bridge.generator.dialects import DIALECTS
from bridge.generator.file_names import cypress, file_names, percent_escaped
from bridge.generator.model import Package, SmalltalkClass
from bridge.generator.packages import VIEWS, packages_of
from bridge.generator.render import render_dialect
from bridge.generator.templates import Templates
from bridge.resources import OPENAPI
from systems import GENERATED

Methods = dict[tuple[str, bool, str], str]
# The classes that NeuroScope's documents name.
DOCUMENTED = set(
    re.findall(
        r"\w+",
        """
    ActivationAnalyzer ActivationCache ActivationHook ActivationTensor AttentionAnalyzer
    CacheStrategy CircuitLibrary Direction SteeringVector
    AttentionLayer AttentionVisualizer CachedModelOutput CachingHook Circuit CircuitFinder
    CircuitVisualizer ColorScheme DataBridge EmbeddingLayer Hook HookManager InteractiveLens
    InterventionExperiment InterventionHook JSInterface LinearProbe MLPLayer ModelOutput
    NeuronAnalyzer ProbeHook TransformerLayer TransformerModel
    DuplicateHookError InsufficientDataError InvalidDataError InvalidLayerError MemoryError
    ModelNotFoundError NetworkError ShapeMismatchError TokenizationError UnknownBehaviorTypeError
    UnknownComponentError
    FeatureSet SparseFeature SparseFeatureHook
        """,
    )
)
SYSTEM = {"ByteArray", "FloatArray", "TypedArray"}  # what other Smalltalks or JavaScript have


@pytest.fixture(scope="module")
def rendered() -> dict[str, tuple[tuple[Package, ...], dict[str, str]]]:
    """For each dialect its packages and the files made of them."""
    templates, client = Templates(), client_of(read_api(OPENAPI), our_base())
    found = {}
    for dialect in DIALECTS.values():
        packages = packages_of(client, dialect, templates)
        found[dialect.name] = (
            packages,
            render_dialect(dialect, packages, client.naming, templates),
        )
    return found


def methods_of(packages: tuple[Package, ...]) -> Methods:
    return {
        (cls.name, meta, method.selector): method.source
        for package in packages
        for cls in package.classes
        for meta, methods in ((True, cls.class_methods), (False, cls.methods))
        for method in methods
    }


def classes_of(packages: tuple[Package, ...]) -> list[SmalltalkClass]:
    return [cls for package in packages for cls in package.classes]


def selector(pattern: str) -> str:
    return "".join(re.findall(r"[A-Za-z]\w*:", pattern)) or pattern.split()[0]


def in_chunks(text: str) -> Methods:
    """The methods of a file of chunks, read by the marks alone."""
    found = {}
    holder = r"(?:\(NeuroScopeClaim on: #)?(\w+)(?: in: '[^']+'\))?( class)?"
    for section in re.finditer(rf"\n!{holder} methodsFor: '[^']+'!\n(.*?)! !\n", text, re.S):
        for source in section[3].split("!\n"):
            source = source.strip("\n")
            found[section[1], bool(section[2]), selector(source.split("\n")[0])] = source
    return found


def in_tonel(text: str) -> Methods:
    found = {}
    body = re.compile(
        r"^\{ #category : #'[^']+' \}\n(\w+)( class)? >> ([^\n]+) \[\n(.*?)\n\]$", re.S | re.M
    )
    for name, meta, pattern, source in body.findall(text):
        found[name, bool(meta), selector(pattern)] = f"{pattern}\n{source}"
    return found


@pytest.mark.parametrize("dialect", ["amber", "gst", "squeak"])
def test_file_outs_hold_every_method(rendered: dict, dialect: str) -> None:
    packages, files = rendered[dialect]
    text = "\n".join(files[f"{package.name}.st"] for package in packages)
    assert in_chunks(text) == methods_of(packages)


def test_cuis_packages_hold_every_method_and_say_what_they_need(rendered: dict) -> None:
    packages, files = rendered["cuis"]
    text = "\n".join(files[f"{package.name}.pck.st"] for package in packages)
    assert in_chunks(text) == methods_of(packages)
    for package in packages:
        header = files[f"{package.name}.pck.st"].split("SystemOrganization")[0]
        assert f"!provides: '{package.name}' 1 0!" in header
        needs = re.findall(r"!requires: '([^']+)'", header)
        assert needs == ["WebClient", "JSON", *(required.name for required in package.requires)]


def test_tonel_holds_every_method_and_a_baseline(rendered: dict) -> None:
    packages, files = rendered["pharo"]
    text = "\n".join(t for path, t in files.items() if path.endswith(".class.st"))
    found = {key: source for key, source in in_tonel(text).items() if "Baseline" not in key[0]}
    assert found == methods_of(packages)
    baseline = files["BaselineOfNeuroScopeBridge/BaselineOfNeuroScopeBridge.class.st"]
    assert re.findall(r"package: '([^']+)'", baseline) == [package.name for package in packages]


def beside(rendered: dict, dialect: str, name: str) -> dict[str, str]:
    """The files that a further format adds to a dialect's own."""
    packages, own = rendered[dialect]
    naming = client_of(read_api(OPENAPI), our_base()).naming
    files = render_dialect(DIALECTS[dialect], packages, naming, Templates(), (name,))
    return {path: text for path, text in files.items() if path not in own}


def test_the_tree_has_a_folder_a_class_and_a_file_a_method(rendered: dict) -> None:
    packages, tree = rendered["squeak"][0], beside(rendered, "squeak", "tree")
    for cls in classes_of(packages):
        comment = tree.pop(f"classes/{cls.name}/COMMENT.md")
        assert cls.comment in comment
    found = {}
    for path, text in tree.items():
        _, name, *side, file = path.split("/")
        found[name, side == ["class"], file.removesuffix(".st").replace("%2F", "/")] = text.strip()
    assert found == {k: source.strip() for k, source in methods_of(packages).items()}


def test_filetree_holds_every_class_and_method_as_squeak_reads_it(rendered: dict) -> None:
    packages, files = rendered["squeak"][0], beside(rendered, "squeak", "filetree")
    assert json.loads(files[".filetree"]) == {"packageExtension": ".package"}
    for package in packages:
        assert json.loads(files[f"{package.name}.package/.filetree"])["noMethodMetaData"] is True
    classes, methods = {}, {}
    for path, text in files.items():
        if found := re.fullmatch(r"([\w-]+)\.package/(\w+)\.class/properties\.json", path):
            entry = json.loads(text)
            assert (entry["category"], entry["name"]) == (found[1], found[2])
            comment = files[path.replace("properties.json", "README.md")].removesuffix("\n")
            classes[found[2]] = (entry["super"], tuple(entry["instvars"]), comment)
        elif found := re.fullmatch(r"[\w-]+\.package/(\w+)\.class/(class|instance)/.*\.st", path):
            _, source = text.split("\n", 1)
            name = selector(source.split("\n")[0])
            methods[found[1], found[2] == "class", name] = source.removesuffix("\n")
    baseline = "BaselineOfNeuroScopeBridge"
    assert "baseline: spec" in methods.pop((baseline, False, "baseline:"))
    assert classes.pop(baseline)[0] == "BaselineOf"
    assert methods == methods_of(packages)
    assert classes == {
        cls.name: (cls.superclass, cls.variables, cls.comment) for cls in classes_of(packages)
    }


def test_squeaks_tonel_holds_every_method(rendered: dict) -> None:
    files = beside(rendered, "squeak", "tonel")
    text = "\n".join(t for path, t in files.items() if path.endswith(".class.st"))
    found = {key: source for key, source in in_tonel(text).items() if "Baseline" not in key[0]}
    assert found == methods_of(rendered["squeak"][0])


def test_a_method_has_a_file_of_its_own_where_letter_case_does_not_count() -> None:
    assert file_names(["at:put:", "//", ">="], cypress) == {
        "at:put:": "at.put.",
        "//": "^slash.slash",
        ">=": "^more.equals",
    }
    assert file_names(["listPets", "listpets"], percent_escaped) == {
        "listPets": "listPets..1",
        "listpets": "listpets..2",
    }
    long, other = f"{'a' * 300}:", f"{'a' * 300}:b:"
    names = file_names([long, other], cypress)
    assert names == file_names([other, long], cypress)
    assert len({*names.values()}) == 2
    assert all(len(name) < 220 for name in names.values())


def test_formats_are_asked_for_by_name(tmp_path: Path) -> None:
    arguments = ["generate", "--dialect", "squeak", "--output", str(tmp_path), "--format"]
    done = CliRunner().invoke(main, [*arguments, "tree"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "squeak" / "classes" / "ActivationTensor" / "shape.st").is_file()
    done = CliRunner().invoke(main, [*arguments, "zip"])
    assert done.exit_code == 1
    assert "no format 'zip'; there are fileout, cuis, tonel, filetree, tree" in done.output


def test_no_chunk_has_a_stray_mark_or_a_line_end_of_another_system(rendered: dict) -> None:
    for _, files in rendered.values():
        for path, text in files.items():
            assert "\r" not in text, path
            assert text.isascii(), path
            assert "!!" not in text, path


def test_superclasses_come_first(rendered: dict) -> None:
    for packages, _ in rendered.values():
        seen: set[str] = set()
        ours = {cls.name for cls in classes_of(packages)}
        for cls in classes_of(packages):
            assert cls.superclass in seen or cls.superclass not in ours
            seen.add(cls.name)


def test_every_dialect_has_the_same_classes_but_for_what_its_system_lacks(rendered: dict) -> None:
    lacking = {"FloatArray", "ByteArray", "TypedArray", "NetworkError", "NeuroScopeHelp"}
    common = {}
    for name, (packages, _) in rendered.items():
        own = {
            *lacking,
            *DIALECTS[name].extras,
            *DIALECTS[name].variants,
            platform_of(packages).name,
            "NeuroScopeFetchPlatform",  # of the dialects that SqueakJS runs
            "NeuroScopeGnuExchange",  # the socket of the one that has no client of HTTP
        }
        shared = [package for package in packages if package.name != VIEWS]
        common[name] = {cls.name for cls in classes_of(tuple(shared))} - own
    assert all(names == common["squeak"] for names in common.values())


def platform_of(packages: tuple[Package, ...]) -> SmalltalkClass:
    """The one subclass of NeuroScopePlatform that a dialect has."""
    (found,) = (c for c in classes_of(packages) if c.superclass == "NeuroScopePlatform")
    return found


def test_a_platform_has_a_method_for_each_that_its_superclass_leaves_to_it(rendered: dict) -> None:
    for packages, _ in rendered.values():
        (base,) = (c for c in classes_of(packages) if c.name == "NeuroScopePlatform")
        abstract = {m.selector for m in base.methods if "subclassResponsibility" in m.source}
        assert abstract
        assert abstract <= {m.selector for m in platform_of(packages).methods}


def test_classes_that_no_document_names_carry_a_prefix(rendered: dict) -> None:
    for packages, _ in rendered.values():
        for cls in classes_of(packages):
            prefixed = cls.name.startswith(("NeuroScope", "LMStudio"))
            assert prefixed or cls.name in DOCUMENTED | SYSTEM, cls.name


def test_the_document_names_the_clients_class() -> None:
    info = json.loads(OPENAPI.read_text())["info"]
    assert client_of(read_api(OPENAPI), our_base()).name == info["x-smalltalk-class"]


@pytest.mark.parametrize("folder", ["pharo", "squeak"])
def test_a_hosted_machine_loads_all_packages_and_runs_their_tests(folder: str) -> None:
    generated = GENERATED / folder
    spec = (generated / ".smalltalk.ston").read_text()
    assert re.findall(r"'(NeuroScope-[\w-]*Tests)'", spec.split("#testing")[1]) == [
        "NeuroScope-Tests",
        "NeuroScope-Server-Tests",
    ]
    if baseline := re.search(r"#baseline : '(\w+)'", spec):
        assert (generated / f"BaselineOf{baseline[1]}").is_dir()
    else:
        files = re.findall(r"'([^']+\.st)'", spec)
        packages = {file.name for file in generated.glob("*.st")} - {"workspace.st"}
        assert sorted(files) == sorted(packages)
    workflow = (GENERATED.parent / ".github/workflows/smalltalk.yml").read_text()
    assert f"folder: {folder}," in workflow
