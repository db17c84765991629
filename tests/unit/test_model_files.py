"""Hashes of model files and the place of the cache."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from arithloc.benchmark.models import default_cache, hashes


def _folder(parent: Path, weights: bytes = b"weights", **config: object) -> Path:
    parent.mkdir()
    (parent / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 2, **config}))
    (parent / "model.safetensors").write_bytes(weights)
    (parent / "tokenizer.json").write_text("{}")
    return parent


def test_the_weights_hash_of_a_single_file_is_its_sha256(tmp_path):
    found = hashes.of_folder(_folder(tmp_path / "m"), tmp_path / "cache")
    assert found.weights == hashlib.sha256(b"weights").hexdigest()


def test_each_hash_follows_its_own_part(tmp_path):
    base = hashes.of_folder(_folder(tmp_path / "a"), tmp_path)
    weights = hashes.of_folder(_folder(tmp_path / "b", weights=b"others"), tmp_path)
    config = hashes.of_folder(_folder(tmp_path / "c", n_layer=3), tmp_path)
    other = _folder(tmp_path / "d")
    (other / "tokenizer.json").write_text('{"a": 1}')
    tokenizer = hashes.of_folder(other, tmp_path)
    changed = [
        [getattr(found, field) != getattr(base, field) for field in ("weights", "config", "tokenizer", "content")]
        for found in (weights, config, tokenizer)
    ]
    assert changed == [[True, False, False, True], [False, True, False, True], [False, False, True, True]]


def test_fields_that_do_not_change_the_computation_do_not_change_the_hash(tmp_path):
    base = hashes.of_folder(_folder(tmp_path / "a"), tmp_path)
    same = _folder(tmp_path / "b", transformers_version="5.23.0", dtype="bfloat16", _name_or_path="/some/where")
    assert hashes.of_folder(same, tmp_path) == base


def test_files_beside_the_model_do_not_change_its_hashes(tmp_path):
    folder = _folder(tmp_path / "a")
    base = hashes.of_folder(folder, tmp_path)
    (folder / "README.md").write_text("text")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights in another form")
    assert hashes.of_folder(folder, tmp_path) == base


def test_shards_are_those_of_the_index(tmp_path):
    folder = _folder(tmp_path / "a")
    (folder / "model-1.safetensors").write_bytes(b"1")
    (folder / "model-2.safetensors").write_bytes(b"2")
    index = {"weight_map": {"x": "model-2.safetensors", "y": "model-1.safetensors", "z": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [file.name for file in hashes.weight_files(folder)] == ["model-1.safetensors", "model-2.safetensors"]
    first = hashes.of_folder(folder, tmp_path).weights
    (folder / "model-2.safetensors").write_bytes(b"3")
    assert hashes.of_folder(folder, tmp_path).weights != first


def test_a_large_file_is_read_once_and_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(hashes, "_REMEMBERED_FROM", 4)
    file, cache = tmp_path / "large", tmp_path / "cache"
    file.write_bytes(b"12345")
    os.utime(file, ns=(10**18, 10**18))
    first = hashes.of_file(file, cache)
    assert first == hashlib.sha256(b"12345").hexdigest()
    # same size and time: the file is not opened again, so other bytes go unnoticed
    file.write_bytes(b"54321")
    os.utime(file, ns=(10**18, 10**18))
    assert hashes.of_file(file, cache) == first
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert hashes.of_file(file, cache) == hashlib.sha256(b"54321").hexdigest()
    assert sorted(len(entry.name) for entry in (cache / "hashes").iterdir()) == [64, 64]


def test_a_small_file_leaves_nothing_in_the_cache(tmp_path):
    file = tmp_path / "small"
    file.write_bytes(b"1")
    assert hashes.of_file(file, tmp_path / "cache") == hashlib.sha256(b"1").hexdigest()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"ARITHLOC_CACHE": "/data/here", "XDG_CACHE_HOME": "/x"}, "/data/here"),
        ("linux", {"ARITHLOC_CACHE": "~/here"}, "/home/me/here"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/arithloc"),
        ("linux", {}, "/home/me/.cache/arithloc"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/home/me/Library/Caches/arithloc"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/arithloc"),
        ("win32", {}, "/home/me/AppData/Local/arithloc"),
    ],
)
def test_the_cache_is_where_the_platform_wants_it(platform, variables, expected, monkeypatch):
    for name in ("ARITHLOC_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert default_cache() == Path(expected)
