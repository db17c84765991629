"""Files are whole or not there, and named by their content."""

import errno
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from arithloc.benchmark.api.errors import ArtifactCorrupt, ArtifactMissing, StorageError
from arithloc.benchmark.storage.artifacts import JSON, SAFETENSORS, Artifacts
from arithloc.benchmark.storage.atomic import atomic_write, sweep


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_file_is_written_and_replaced(tmp_path):
    target = tmp_path / "deep" / "file"
    atomic_write(target, b"one", tmp_path / "tmp")
    atomic_write(target, b"two", tmp_path / "tmp")
    assert target.read_bytes() == b"two"
    assert files(tmp_path) == ["deep/file"]


def test_the_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", b"", tmp_path / "tmp")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_step_leaves_the_old_content_and_no_rubbish(tmp_path, monkeypatch, step, error):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail(*arguments):
        raise error

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="no space left" if expected is StorageError else None):
        atomic_write(target, b"new", tmp_path / "tmp")
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert files(tmp_path) == ["file"]


def test_two_file_systems_are_named(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError, match="two file systems"):
        atomic_write(tmp_path / "file", b"new", tmp_path / "tmp")


def test_old_drafts_of_dead_processes_are_swept(tmp_path):
    dead, mine, young = tmp_path / "999999999-a", tmp_path / f"{os.getpid()}-b", tmp_path / "999999999-c"
    for draft in (dead, mine, young, tmp_path / "other"):
        draft.write_bytes(b"x")
    yesterday = time.time() - 90_000
    for draft in (dead, mine, tmp_path / "other"):
        os.utime(draft, (yesterday, yesterday))
    assert sweep(tmp_path) == [dead]
    assert files(tmp_path) == sorted([mine.name, young.name, "other"])
    assert sweep(tmp_path / "absent") == []


def test_a_draft_that_its_writer_finishes_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "999999999-gone").symlink_to(tmp_path / "nothing")  # listed, but not there any more
    (old := tmp_path / "999999999-old").write_bytes(b"x")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    assert sweep(tmp_path) == [old]


def test_content_is_named_by_its_hash_and_written_once(tmp_path, monkeypatch):
    store = Artifacts(tmp_path)
    artifact = store.put(b"{}", "truth", JSON)
    expected = hashlib.sha256(b"{}").hexdigest()
    assert artifact.sha256 == expected
    assert files(tmp_path) == [f"artifacts/{expected[:2]}/{expected}.json"]
    monkeypatch.setattr(Path, "replace", None)  # a second write would fail
    assert store.put(b"{}", "truth", JSON).size == 2
    assert store.get(expected, JSON) == b"{}"


def test_a_broken_file_is_named_and_repaired_by_writing_again(tmp_path):
    store = Artifacts(tmp_path)
    artifact = store.put(b"content", "truth", JSON)
    store.path(artifact.sha256, JSON).write_bytes(b"conten")
    with pytest.raises(ArtifactCorrupt, match="does not match"):
        store.get(artifact.sha256, JSON)
    store.put(b"content", "truth", JSON)
    assert store.get(artifact.sha256, JSON) == b"content"
    store.path(artifact.sha256, JSON).unlink()
    with pytest.raises(ArtifactMissing, match="found none"):
        store.get(artifact.sha256, JSON)


def test_arrays_and_notes_come_back_as_they_were(tmp_path):
    store = Artifacts(tmp_path)
    arrays = {"scores": np.linspace(-1, 1, 7), "index": np.arange(4)[::2], "grid": np.ones((2, 3), np.float32).T}
    artifact = store.put_arrays(arrays, "scores", clusters=["1+2", "\u00fc"], layer=3)
    back = store.arrays(artifact.sha256)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    assert store.notes(artifact.sha256) == {"clusters": ["1+2", "\u00fc"], "layer": 3}
    assert store.path(artifact.sha256, SAFETENSORS).suffix == ".safetensors"


def test_the_same_arrays_give_the_same_file(tmp_path):
    store = Artifacts(tmp_path)
    first = store.put_arrays({"b": np.ones(3), "a": np.zeros(2)}, "scores", x=1, y=2)
    second = store.put_arrays({"a": np.zeros(2), "b": np.ones(3)}, "scores", y=2, x=1)
    assert first.sha256 == second.sha256


def test_documents_come_back(tmp_path):
    store = Artifacts(tmp_path)
    artifact = store.put_document({"b": [1, 2.5], "a": None}, "truth")
    assert store.document(artifact.sha256) == {"a": None, "b": [1, 2.5]}
