"""Nothing that is not ours is deleted or overwritten, and a run cut short can be repeated."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from foreign import client, document, generate_into, operation, written
from test_generator_drift import bridge

from bridge.generator import writing
from bridge.generator.dialects import DIALECTS
from bridge.generator.drift import STAGING, Kind
from bridge.generator.errors import DriftError
from bridge.generator.generate import Rendering, render
from bridge.generator.manifest import MANIFEST, hash_of
from bridge.generator.settings import SETTINGS_FILE

pytestmark = pytest.mark.slow


def rendering(folder: Path, *ids: str, title: str = "Pets", dialect: str = "gst") -> Rendering:
    """The bindings of an API that has one operation for each of these ids."""
    paths = {f"/{name}": {"get": operation(operationId=name)} for name in ids}
    content = {**document(paths), "info": {"title": title, "version": "1"}}
    made = client(folder / "spec", content, class_name="Pets")
    return render(made, (DIALECTS[dialect],))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def edit_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for key, entries in changes.items():
        manifest.setdefault(key, {}).update(entries)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_another_api_does_not_take_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rendering(tmp_path, "list", "add").write(out)
    before = contents(out)
    other = rendering(tmp_path, "ping", title="Weather")
    for force in (False, True):
        with pytest.raises(DriftError, match="has the bindings of 'Pets', not of 'Weather'"):
            other.write(out, force=force)
    assert contents(out) == before


def test_the_bridges_own_bindings_are_not_replaced_by_a_document_without_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bridge("--dialect", "gst").startswith("0")
    before = contents(tmp_path / "smalltalk")
    spec = written(tmp_path, document({"/x": {"get": operation()}}))
    said = bridge("--spec", spec)
    assert said.startswith("1")
    assert "name another folder by --output" in said
    assert contents(tmp_path / "smalltalk") == before


def test_a_title_may_change(tmp_path: Path) -> None:
    rendering(tmp_path, "list", "add").write(tmp_path / "out")
    rendering(tmp_path, "list", "add", "remove", title="Pets & more").write(tmp_path / "out")


def test_a_first_render_overwrites_nothing(tmp_path: Path) -> None:
    mine = tmp_path / "out" / "gst" / "install.st"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for force in (False, True):
        with pytest.raises(DriftError, match=r"gst/install\.st: not a generated file"):
            rendering(tmp_path, "list").write(tmp_path / "out", force=force)
    assert contents(tmp_path / "out") == {"gst/install.st": b"mine"}


def test_a_new_file_overwrites_nothing_either(tmp_path: Path) -> None:
    rendering(tmp_path, "list").write(tmp_path / "out")
    mine = tmp_path / "out" / "amber" / "install.st"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(DriftError, match="not a generated file"):
        rendering(tmp_path, "list", dialect="amber").write(tmp_path / "out")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("path", ["../mine", "gst/../../mine", "/etc/mine", "C:/mine", "a\\..\\b"])
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    made = rendering(tmp_path, "list")
    made.write(tmp_path / "out")
    edit_manifest(tmp_path / "out", files={path: hash_of(b"mine")})
    for force in (False, True):
        with pytest.raises(DriftError, match="not a path below the output folder"):
            made.write(tmp_path / "out", force=force)
    assert mine.read_text() == "mine"


def test_a_link_leads_no_file_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "gst").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DriftError, match="a link leads out of it"):
        rendering(tmp_path, "list").write(tmp_path / "out")
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_what_is_removed_is_named_and_its_empty_folder_goes_too(tmp_path: Path) -> None:
    spec = written(tmp_path, document({"/x": {"get": operation()}}))
    out = tmp_path / "out"
    arguments = ("--spec", spec, "--output", out, "--dialect", "squeak")
    assert bridge(*arguments, "--format", "tree").startswith("0")
    (out / "squeak" / "classes" / "mine.txt").write_text("mine")
    removed = out / "squeak" / "classes" / "PetStoreClient" / "doIt.st"
    assert removed.exists()
    (tmp_path / SETTINGS_FILE).unlink()
    said = bridge(*arguments)
    assert f"removed: {removed}" in said
    assert not removed.parent.exists()
    assert (out / "squeak" / "classes" / "mine.txt").read_text() == "mine"


class KilledError(BaseException):
    """The end of a process, wherever it is."""


@pytest.mark.parametrize("kill_at", range(0, 60, 4))
def test_a_run_cut_short_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    out = tmp_path / "out"
    rendering(tmp_path, "list", "add", dialect="pharo").write(out)
    wanted = rendering(tmp_path, "list", "put", title="Pets", dialect="pharo")
    edit_manifest(out, files={"pharo/Old.st": hash_of(b"old")})
    (out / "pharo" / "Old.st").write_text("old")
    steps = 0

    def counted(act: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > kill_at:
                raise KilledError
            return act(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(os.replace))
        patch.setattr(writing, "_put", counted(writing._put))
        patch.setattr(writing, "_remove_staging", counted(writing._remove_staging))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        try:
            wanted.write(out)
        except KilledError:
            assert not [d for d in wanted.check(out) if d.kind in (Kind.EDITED, Kind.IN_THE_WAY)]
    wanted.write(out)
    assert not wanted.check(out)
    assert not (out / STAGING).exists()
    assert not (out / "pharo" / "Old.st").exists()
    assert contents(out).keys() == {*wanted.files, MANIFEST}


def test_a_first_run_cut_short_is_finished_by_another_version_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replaced = os.replace
    count = 0

    def full(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise OSError(28, "No space left on device")
        replaced(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DriftError, match="No space left on device; the same command again"):
            rendering(tmp_path, "list").write(out)
    other = rendering(tmp_path, "list", "add")
    other.write(out)
    assert not other.check(out)


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    made = rendering(tmp_path, "list")
    assert made.write(tmp_path / "out").written
    assert made.write(tmp_path / "out").written == ()


def test_a_broken_manifest_is_replaced_by_force_alone(tmp_path: Path) -> None:
    made = rendering(tmp_path, "list")
    made.write(tmp_path / "out")
    (tmp_path / "out" / MANIFEST).write_text("<<<<<<<")
    with pytest.raises(DriftError, match="is not a manifest"):
        made.write(tmp_path / "out")
    made.write(tmp_path / "out", force=True)
    assert not made.check(tmp_path / "out")


def test_two_clients_lie_beside_each_other(tmp_path: Path) -> None:
    spec = written(tmp_path, document({"/x": {"get": operation()}}))
    one = generate_into(tmp_path / "one", spec, "gst")
    two = generate_into(tmp_path / "two", spec, "gst", class_name="OtherClient")
    names = [{p.name for p in (tmp_path / n / "gst").iterdir()} for n in ("one", "two")]
    assert names[0] & names[1] == {"README.md", "install.st"}
    assert one.naming.connection != two.naming.connection
