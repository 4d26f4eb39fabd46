"""What was chosen once is kept beside the output, so that `generate` alone does it again."""

import tomllib
from pathlib import Path

import pytest
from foreign import document, operation, written
from test_generator_drift import bridge

from bridge.generator.errors import GeneratorError
from bridge.generator.settings import SETTINGS_FILE, read_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A document in the working folder."""
    monkeypatch.chdir(tmp_path)
    entry = operation(operationId="listPets", tags=["pets"])
    paths = {"/pets": {"get": entry}, "/shops": {"get": operation(operationId="listShops")}}
    return written(tmp_path / "specs", document(paths), "pets.json")


def test_generate_alone_does_everything_again(spec: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "classes"
    mine.mkdir(parents=True)
    chosen = ["--spec", spec, "--output", "out", "--dialect", "gst", "--dialect", "squeak"]
    chosen += ["--class-name", "Zoo", "--package", "Zoo-Client", "--prefix", "Zo"]
    chosen += ["--base-url", "https://zoo.example", "--include", "tag:pets", "--format", "tree"]
    assert bridge(*chosen, "--templates", tmp_path / "mine").startswith("0")
    kept = tomllib.loads((tmp_path / SETTINGS_FILE).read_text())
    assert kept == {
        "spec": "specs/pets.json",
        "output": "out",
        "class-name": "Zoo",
        "package": "Zoo-Client",
        "prefix": "Zo",
        "base-url": "https://zoo.example",
        "dialects": ["gst", "squeak"],
        "formats": ["tree"],
        "templates": "mine",
        "include": ["tag:pets"],
    }
    assert bridge("--check").startswith("0")
    assert bridge().startswith("0")
    spec.write_text(spec.read_text().replace('"summary": "Do it."', '"summary": "Do that."'))
    said = bridge("--check")
    assert said.startswith("1")
    assert "gst/Zoo-Client.st: would be rendered differently" in said
    assert bridge().startswith("0")
    assert "Do that." in (tmp_path / "out" / "gst" / "Zoo-Client.st").read_text()


def test_names_survive_a_changed_title(spec: Path, tmp_path: Path) -> None:
    assert bridge("--spec", spec, "--output", "out", "--dialect", "gst").startswith("0")
    spec.write_text(spec.read_text().replace("Pet store", "Pets and more"))
    assert bridge("--check", "--dialect", "gst").startswith("1")
    assert bridge("--dialect", "gst").startswith("0")
    assert "#PetStoreClient" in (tmp_path / "out" / "gst" / "PetStoreClient.st").read_text()


def test_a_settings_file_is_changed_only_on_request(spec: Path, tmp_path: Path) -> None:
    file = tmp_path / SETTINGS_FILE
    file.write_text(f'# mine\nspec = "{spec}"\noutput = "out"\ndialects = ["gst"]  # both\n')
    before = file.read_text()
    assert bridge("--class-name", "Zoo").startswith("0")
    assert file.read_text() == before
    assert bridge("--class-name", "Zoo", "--save", "--force").startswith("0")
    after = file.read_text()
    assert after.startswith("# mine\n")
    assert "# both" in after
    assert 'class-name = "Zoo"' in after


def test_the_settings_of_another_output_do_not_count(spec: Path, tmp_path: Path) -> None:
    assert bridge("--spec", spec, "--output", "one", "--dialect", "gst").startswith("0")
    other = written(tmp_path, document({"/x": {"get": operation()}}), "other.json")
    said = bridge("--spec", other)
    assert said.startswith("1")
    assert "is for" in said
    assert "name another folder by --output" in said
    assert bridge("--spec", other, "--output", "two").startswith("0")
    assert {p.name for p in (tmp_path / "two").iterdir()} >= {"amber", "gst"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour = 1", "no setting 'colour'; there are spec, output"),
        ("spec = 1", "spec is 1, not a text"),
        ("dialects = 'gst'", "dialects is 'gst', not a list of texts"),
        ("dialects = [1]", "not a list of texts"),
        ("spec", "cannot be read"),
        ("prefix = 'a-b'", "not a class prefix"),
        ("class-name = 'a b'", "not a class name: 'a b'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / SETTINGS_FILE
    file.write_text(text)
    with pytest.raises(GeneratorError, match=problem):
        read_settings(file)


def test_warnings_can_be_errors(spec: Path, tmp_path: Path) -> None:
    unsendable = {"name": "a b", "in": "header", "required": True, "schema": {}}
    bad = operation(parameters=[unsendable], operationId="up")
    spec = written(tmp_path, document({"/up": {"post": bad}, "/x": {"get": operation()}}))
    said = bridge("--spec", spec, "--output", "out", "--fail-on-warning")
    assert said.startswith("1")
    assert "1 operation was skipped: 1 for a header whose name HTTP does not allow" in said
    assert not (tmp_path / "out").exists()
    assert bridge("--spec", spec, "--output", "out", "--dialect", "gst").startswith("0")


def test_a_template_that_takes_no_place_is_an_error(spec: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "classes"
    mine.mkdir(parents=True)
    (mine / "LMStudioConection.st").write_text("typo")
    said = bridge("--spec", spec, "--output", "out", "--templates", tmp_path / "mine")
    assert said.startswith("1")
    assert "no template of ours is called classes/LMStudioConection.st" in said
