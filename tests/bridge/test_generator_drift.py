"""No drift: each way in which a folder can differ from a fresh render is named for what it is."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bridge.cli import main
from bridge.generator.manifest import MANIFEST, hash_of
from bridge.resources import OPENAPI, resource_folder

pytestmark = pytest.mark.slow


def bridge(*arguments: str | Path) -> str:
    """What `neuroscope-bridge generate` prints, behind its exit status."""
    result = CliRunner().invoke(main, ["generate", *map(str, arguments)])
    return f"{result.exit_code} {result.output}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fresh render for GNU Smalltalk."""
    assert bridge("--dialect", "gst", "--output", tmp_path / "out").startswith("0")
    return tmp_path / "out"


def check(folder: Path, *arguments: str | Path) -> str:
    return bridge("--dialect", "gst", "--output", folder, "--check", *arguments)


def changed_spec(tmp_path: Path) -> Path:
    content = json.loads(OPENAPI.read_text())
    content["paths"]["/health"]["get"]["summary"] = "Say something else."
    content["components"]["schemas"]["DetokenizeRequest"]["properties"]["more"] = {}
    del content["paths"]["/v1/models/unload"]
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    return path


def test_what_is_committed_is_what_would_be_rendered() -> None:
    said = bridge("--check", "--output", resource_folder("smalltalk"))
    assert said.startswith("0"), said


def test_rendering_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        bridge("--output", folder)
    one, two = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in folders
    )
    assert one == two


def test_a_fresh_render_has_no_drift(folder: Path) -> None:
    assert check(folder).startswith("0")


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    assert "nothing was generated here yet" in check(tmp_path)


def test_a_changed_endpoint_is_named(folder: Path, tmp_path: Path) -> None:
    said = check(folder, "--spec", changed_spec(tmp_path))
    assert said.startswith("1")
    assert "GET /health: endpoint changed in the API" in said
    assert "POST /v1/models/unload: endpoint removed from the API" in said
    assert "#/components/schemas/DetokenizeRequest: changed in the API" in said
    assert "(selectors: detokenize:, detokenize:model:, detokenize:options:)" in said
    assert "gst/NeuroScope-Bridge.st: would be rendered differently" in said


def test_a_file_edited_by_hand_is_reported_and_not_overwritten(folder: Path) -> None:
    edited = folder / "gst" / "NeuroScope-Bridge.st"
    edited.write_text("mine")
    assert "gst/NeuroScope-Bridge.st: edited by hand" in check(folder)
    said = bridge("--dialect", "gst", "--output", folder)
    assert said.startswith("1")
    assert "edited by hand" in said
    assert edited.read_text() == "mine"


def test_force_removes_stale_files_too(folder: Path) -> None:
    stale = folder / "gst" / "Old.st"
    stale.write_text("old, and edited")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["gst/Old.st"] = hash_of(b"old")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert bridge("--dialect", "gst", "--output", folder).startswith("1")
    assert bridge("--dialect", "gst", "--output", folder, "--force").startswith("0")
    assert not stale.exists()


def test_force_overwrites_what_was_edited(folder: Path) -> None:
    (folder / "gst" / "install.st").write_text("mine")
    assert bridge("--dialect", "gst", "--output", folder, "--force").startswith("0")
    assert check(folder).startswith("0")


def test_a_deleted_file_is_reported_and_written_again(folder: Path) -> None:
    (folder / "gst" / "install.st").unlink()
    assert "gst/install.st: deleted by hand" in check(folder)
    assert bridge("--dialect", "gst", "--output", folder).startswith("0")
    assert check(folder).startswith("0")


def test_a_stale_file_is_reported_and_removed(folder: Path) -> None:
    stale = folder / "gst" / "Old.st"
    stale.write_text("old")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["gst/Old.st"] = hash_of(b"old")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert "gst/Old.st: no longer generated" in check(folder)
    assert bridge("--dialect", "gst", "--output", folder).startswith("0")
    assert not stale.exists()


def test_a_file_that_was_never_generated_is_reported_and_kept(folder: Path) -> None:
    foreign = folder / "gst" / "notes.txt"
    foreign.write_text("mine")
    assert "gst/notes.txt: not a generated file" in check(folder)
    bridge("--dialect", "gst", "--output", folder, "--force")
    assert foreign.read_text() == "mine"


def test_the_work_of_a_newer_generator_is_not_overwritten(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "generator": "99.0.0"}))
    assert "99.0.0: written by a newer generator" in check(folder)
    assert bridge("--dialect", "gst", "--output", folder).startswith("1")


def test_one_dialect_is_rendered_beside_the_others(folder: Path) -> None:
    assert bridge("--dialect", "amber", "--output", folder).startswith("0")
    said = bridge("--dialect", "amber", "--dialect", "gst", "--output", folder, "--check")
    assert said.startswith("0")


def test_a_users_template_takes_the_place_of_ours(folder: Path, tmp_path: Path) -> None:
    ours = (resource_folder("templates") / "classes" / "LMStudioResponse.st").read_text()
    mine = tmp_path / "templates" / "classes"
    mine.mkdir(parents=True)
    (mine / "LMStudioResponse.st").write_text(
        ours.replace("Answer the headers as associations from names to texts.", "Mine.")
    )
    out = tmp_path / "mine"
    bridge("--dialect", "gst", "--output", out, "--templates", tmp_path / "templates")
    rendered = (out / "gst" / "NeuroScope-Connection.st").read_text()
    assert '"Mine."' in rendered
    assert (
        rendered.replace("Mine.", "Answer the headers as associations from names to texts.")
        == (folder / "gst" / "NeuroScope-Connection.st").read_text()
    )


def test_an_unknown_dialect_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    said = bridge("--dialect", "self", "--output", tmp_path)
    assert "amber, cuis, gst, pharo, squeak" in said


def test_the_same_document_in_another_form_is_no_drift(folder: Path, tmp_path: Path) -> None:
    content = json.loads(OPENAPI.read_text())
    for form in (
        json.dumps(content, indent=7),
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
    ):
        path = tmp_path / "same"
        path.write_text(form)
        said = check(folder, "--spec", path)
        assert said.startswith("0"), said


def test_another_description_is_no_drift_where_none_is_rendered(
    folder: Path, tmp_path: Path
) -> None:
    content = json.loads(OPENAPI.read_text())
    content["components"]["schemas"]["DetokenizeRequest"]["description"] = "Other words."
    path = tmp_path / "same.json"
    path.write_text(json.dumps(content))
    assert check(folder, "--spec", path).startswith("0")


def test_line_ends_of_version_control_are_no_drift(folder: Path) -> None:
    file = folder / "gst" / "install.st"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert check(folder).startswith("0")


def test_a_users_files_can_be_ignored(folder: Path) -> None:
    (folder / "gst" / "notes.txt").write_text("mine")
    (folder / ".bindingsignore").write_text("*.txt\n")
    assert check(folder).startswith("0")
