"""What passes the budget moves to files: nothing is lost, half written, or believed unchecked."""

import errno
import os
import resource
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine.captures.records import numbers
from engine.errors import CaptureTooLargeError, InvalidRequestError
from engine.server.errors import UnknownCaptureError
from engine.server.state.captures import CaptureStore
from tests.engine.server.conftest import running
from tests.engine.server.test_captures import BYTES, capture, record

CAPTURE = {"activation_hooks": [{"layer_name": "*", "component": "residual"}], "logits": "none"}


def filled(folder, count, **options):
    """A store with room for one capture, to which `count` were added."""
    store = CaptureStore(BYTES, folder, **options)
    captures = [capture(record(n)) for n in range(count)]
    for each in captures:
        store.add(each)
    return store, captures


def assert_there(store, captures):
    for each in captures:
        (read,) = store.get(each.capture_id).activations["h"]
        np.testing.assert_array_equal(read.data, each.activations["h"][0].data)


def test_hundreds_are_moved_with_no_file_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    store, captures = filled(tmp_path, 300)
    assert_there(store, captures)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # that of the folder


def test_many_records_are_moved_with_few_descriptors(tmp_path):
    store = CaptureStore(400 * BYTES, tmp_path)
    big = [capture(*(record(n) for n in range(400))) for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        for each in big:
            store.add(each)
        assert len(store.get(big[0].capture_id).activations["h"]) == 400
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_files_are_for_their_owner_alone(tmp_path):
    folder = tmp_path / "new"
    before = os.umask(0)
    try:
        filled(folder, 3)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_record_comes_back_as_it_was(tmp_path, dtype):
    bits = np.arange(12, dtype={"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[dtype])
    first = capture(
        replace(record(), dtype=dtype, data=bits.reshape(3, 4), visit=2, is_input=True),
        replace(record(1), data=np.zeros((2, 0, 3), np.float32), layer=None),
        replace(record(2), data=np.array(7, np.float32), hook_id="ü/x"),
    )
    store = CaptureStore(max(first.nbytes, 2 * BYTES), tmp_path)
    store.add(first)
    expected = first.manifest(), [b"".join(p) for p in [first.body()[1], first.body("h", 1)[1]]]
    store.add(capture(record(5), record(6)))
    moved = store.get(first.capture_id)
    assert moved is not first
    assert (moved.manifest(), [b"".join(p) for p in [moved.body()[1], moved.body("h", 1)[1]]]) == (
        expected
    )
    assert moved.body()[0] == len(expected[1][0])
    for one, other in zip(first.records(), moved.records(), strict=True):
        assert one.metadata == other.metadata
        assert (one.visit, one.positions) == (other.visit, other.positions)
        assert one.data.dtype == other.data.dtype
        np.testing.assert_array_equal(numbers(one.data, one.dtype), numbers(other.data, one.dtype))


def damages():
    return {
        "cut in the data": lambda file: os.truncate(file, file.stat().st_size - 5),
        "cut in the header": lambda file: os.truncate(file, 20),
        "empty": lambda file: os.truncate(file, 0),
        "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
        "huge header": lambda file: file.write_bytes(b"\xff" * 7 + b"\x7f" + file.read_bytes()[8:]),
        "no JSON": lambda file: file.write_bytes(file.read_bytes().replace(b"{", b"[")),
        "gone": lambda file: file.unlink(),
        "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
        "a folder": lambda file: (file.unlink(), file.mkdir()),
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_file_is_an_error_of_its_own_request(tmp_path, damage):
    store, (first, second, *_) = filled(tmp_path, 3)
    damages()[damage](tmp_path / f"{first.capture_id}.safetensors")
    moved = store.get(first.capture_id)
    for read in (lambda: moved.activations, moved.manifest, lambda: b"".join(moved.body()[1])):
        with pytest.raises(UnknownCaptureError, match=f"{first.capture_id}.*cannot be read"):
            read()
    assert_there(store, [second])


def test_a_file_cut_short_is_answered_by_the_server(tiny_model, tmp_path):
    with running(tiny_model, capture_bytes=4000, spill_folder=tmp_path) as server:
        asked = {"prompt": "hello", **CAPTURE}
        ids = [server.post("/v1/forward", **asked)["capture_id"] for _ in range(4)]
        file = tmp_path / f"{ids[0]}.safetensors"
        os.truncate(file, file.stat().st_size // 2)
        for path in (f"/v1/activations/{ids[0]}", f"/v1/activations/{ids[0]}/tensors"):
            answer = server.http.get(path)
            assert answer.status_code == 404
            assert "it contains" in answer.json()["error"]["message"]
        assert server.http.get(f"/v1/activations/{ids[1]}/tensors").status_code == 200


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which writing fails after some bytes, until it is told that there is room."""
    state = {"full": True}
    fsync = os.fsync

    def failing(descriptor):
        if state["full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    return state


def test_a_full_disk_loses_nothing_and_leaves_nothing_half(tmp_path, full_disk):
    store = CaptureStore(BYTES, tmp_path)
    kept = capture()
    store.add(kept)
    refused = capture(record(1))
    with pytest.raises(CaptureTooLargeError, match="No space left"):
        store.add(refused)
    assert store.get(kept.capture_id) is kept
    assert store.all() == [kept]
    assert store.nbytes == BYTES
    assert list(tmp_path.iterdir()) == []
    full_disk["full"] = False
    store.add(refused)
    assert_there(store, [kept, refused])


def test_a_really_full_disk_loses_nothing(tmp_path):
    """With a limit on the size of files, as a disk is not to be filled by a test."""
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from engine.errors import CaptureTooLargeError
from engine.server.state.captures import CaptureStore
from tests.engine.server.test_captures import capture, record

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
big = [capture(record(data=np.zeros((1 << 18,), np.float32))) for _ in range(2)]
store = CaptureStore(1 << 20, Path(sys.argv[1]))
store.add(big[0])
try:
    store.add(big[1])
except CaptureTooLargeError as error:
    print(error)
assert store.all() == [big[0]], store.all()
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "could not be moved to the spill folder: File too large" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_folder_has_a_limit_of_bytes_and_says_what_it_dropped(tmp_path):
    one = os.path.getsize(next(iter(filled(tmp_path / "one", 2)[0]._spilled.values())).file)
    store, captures = filled(tmp_path / "two", 6, folder_bytes=2 * one + one // 2)
    assert len(list((tmp_path / "two").iterdir())) == 2
    assert store.spilled_bytes <= 2 * one + one // 2
    for each in captures[:3]:
        with pytest.raises(UnknownCaptureError, match="dropped from the spill folder"):
            store.get(each.capture_id)
    assert_there(store, captures[3:])


def test_they_are_there_after_a_restart_and_what_is_damaged_is_removed(tmp_path):
    _, captures = filled(tmp_path, 4)
    damaged = tmp_path / f"{captures[1].capture_id}.safetensors"
    os.truncate(damaged, 100)
    (tmp_path / f"{captures[3].capture_id}.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("somebody's own")
    (tmp_path / "model.safetensors").write_bytes(b"somebody's own")
    store = CaptureStore(BYTES, tmp_path)
    assert [each.capture_id for each in store.all()] == [
        captures[0].capture_id,
        captures[2].capture_id,
    ]
    assert [each.created for each in store.all()] == [captures[0].created, captures[2].created]
    assert_there(store, [captures[0], captures[2]])
    assert {file.name for file in tmp_path.iterdir()} == {
        "notes.txt",
        "model.safetensors",
        f"{captures[0].capture_id}.safetensors",
        f"{captures[2].capture_id}.safetensors",
    }
    store.forget(captures[0].capture_id)
    assert not (tmp_path / f"{captures[0].capture_id}.safetensors").exists()
    assert store.spilled_bytes == os.path.getsize(
        tmp_path / f"{captures[2].capture_id}.safetensors"
    )


def test_a_folder_belongs_to_one_process(tmp_path):
    filled(tmp_path, 2)
    code = (
        "import sys; from pathlib import Path\n"
        "from engine.server.state.captures import CaptureStore\n"
        "CaptureStore(1, Path(sys.argv[1]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert InvalidRequestError.__name__ in result.stderr
    assert "spill folder of another server" in result.stderr


def test_one_forgotten_while_it_is_moved_stays_forgotten(tmp_path, monkeypatch):
    store = CaptureStore(BYTES, tmp_path)
    first = capture()
    store.add(first)
    fsync = os.fsync

    def forgetting(descriptor):
        store.forget(first.capture_id)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", forgetting)
    second = capture(record(1))
    store.add(second)
    assert store.all() == [second]
    assert store.nbytes == BYTES
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_one_that_others_read(tmp_path):
    _, (first, _) = filled(tmp_path, 2)
    tensors = load_file(tmp_path / f"{first.capture_id}.safetensors")
    np.testing.assert_array_equal(tensors["h/0"], first.activations["h"][0].data)
