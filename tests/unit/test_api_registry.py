"""Registries: entry points, classes by path, and plugins that do not load."""

import importlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from arithloc.benchmark.api import registry
from arithloc.benchmark.api.errors import UnknownName, UsageError
from arithloc.benchmark.api.registry import BrokenPlugin, Plugin, Registry, load_path
from arithloc.benchmark.api.sources import imported_files


class Dist:
    version = "1.0"

    def __init__(self, name: str) -> None:
        self.name = name


def entry(name: str, value: str, distribution: str) -> EntryPoint:
    made = EntryPoint(name, value, "arithloc.methods")
    vars(made)["dist"] = Dist(distribution)
    return made


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    found = [
        entry("random", "arithloc.benchmark.api.scores:Scores", "arithloc"),
        entry("theirs", "arithloc.benchmark.api.scores:Scores", "stranger"),
        entry("broken", "no_such_module_anywhere:Thing", "stranger"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    monkeypatch.delenv("ARITHLOC_PLUGINS", raising=False)
    return found


def test_strangers_are_listed_under_their_distribution(entries: list[EntryPoint]) -> None:
    assert Registry("g", "method").names() == ["random", "stranger/broken", "stranger/theirs"]


def test_a_short_name_finds_the_only_stranger(entries: list[EntryPoint]) -> None:
    found = Registry("g", "method").get("theirs")
    assert (found.name, found.distribution, found.version) == ("stranger/theirs", "stranger", "1.0")


def test_a_broken_plugin_is_reported_and_the_others_load(entries: list[EntryPoint]) -> None:
    kinds = {p.name: type(p) for p in Registry("g", "method").all()}
    assert kinds == {"random": Plugin, "stranger/theirs": Plugin, "stranger/broken": BrokenPlugin}
    with pytest.raises(UsageError, match="no_such_module_anywhere"):
        Registry("g", "method").get("stranger/broken")


def test_only_allowed_distributions_load(entries: list[EntryPoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARITHLOC_PLUGINS", "arithloc")
    assert Registry("g", "method").names() == ["random"]


def test_two_plugins_of_one_name_collide(entries: list[EntryPoint]) -> None:
    entries.append(entry("random", "somewhere.else:Random", "arithloc"))
    with pytest.raises(UsageError, match="registered twice"):
        Registry("g", "method").names()


def test_an_unknown_name_suggests_near_ones(entries: list[EntryPoint]) -> None:
    with pytest.raises(UnknownName, match="random"):
        Registry("g", "method").get("randm")


def test_a_class_by_file_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    pass\n")
    first, second = load_path(f"{file}:Mine", "method"), load_path(f"{file}:Mine", "method")
    assert first.target is second.target
    assert first.distribution == "local"
    assert len(first.source_hash) == 64


def test_a_relative_path_is_looked_up_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"class Mine:\n    place = {folder!r}\n")
        monkeypatch.chdir(tmp_path / folder)
        assert load_path("mine.py:Mine", "method").target.place == folder


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("class Mine: pass", "Other", "AttributeError"),
        ("import nothing_like_this", "Mine", "ModuleNotFoundError"),
        ("def broken(:", "Mine", "SyntaxError"),
        ("Mine = 3", "Mine", "Expected a class"),
    ],
)
def test_a_file_that_does_not_give_a_class_is_one_clear_error(
    tmp_path: Path, content: str, name: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_path(f"{file}:{name}", "method")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        load_path(f"{tmp_path}/absent.py:Mine", "method")


def test_the_source_hash_covers_the_helpers_of_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    helper, file = tmp_path / "helper_of_mine.py", tmp_path / "mine.py"
    helper.write_text("SIGN = 1\n")
    file.write_text("from helper_of_mine import SIGN\n\n\nclass Mine:\n    sign = SIGN\n")
    plugin = load_path(f"{file}:Mine", "method")
    before = plugin.source_hash
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    ghost = ModuleType("ghost_of_a_library")
    ghost.__file__ = "_ghost.py"
    monkeypatch.setitem(sys.modules, ghost.__name__, ghost)
    monkeypatch.chdir(tmp_path)
    assert plugin.source_hash == before
    helper.write_text("SIGN = -1\n")
    assert plugin.source_hash != before


def test_the_source_hash_of_a_local_file_does_not_depend_on_what_the_process_has_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file, beside = tmp_path / "mine_too.py", tmp_path / "beside_mine.py"
    file.write_text("class Mine:\n    pass\n")
    beside.write_text("x = 1\n")
    plugin = load_path(f"{file}:Mine", "method")
    before = plugin.source_hash
    importlib.import_module("beside_mine")
    assert plugin.source_hash == before


def test_imports_are_followed_through_packages_functions_and_dots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "own_pack/__init__.py": "",
        "own_pack/start.py": "import json\nfrom own_pack import first\ndef f():\n    import own_pack.deep.third\n",
        "own_pack/first.py": "from . import second\nfrom .deep.fourth import x\n",
        "own_pack/second.py": "import start_again_elsewhere",
        "own_pack/deep/third.py": "from ..broken import y",
        "own_pack/deep/fourth.py": "from own_pack.start import f",
        "own_pack/broken.py": "def (",
        "own_pack/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = imported_files(tmp_path / "own_pack/start.py", tmp_path / "own_pack")
    assert {path.name for path in found} == {
        "__init__.py", "first.py", "second.py", "third.py", "fourth.py", "broken.py",
    }  # fmt: skip


def test_the_source_hash_of_a_package_covers_all_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "stranger_package"
    (package / "deep").mkdir(parents=True)
    for file, text in (
        ("__init__.py", ""),
        ("deep/__init__.py", ""),
        ("deep/method.py", "class M: ..."),
        ("util.py", ""),
    ):
        (package / file).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    from stranger_package.deep.method import M

    plugin = Plugin("stranger/m", "stranger", "1", M)
    before = plugin.source_hash
    (package / "util.py").write_text("y = 2\n")
    assert plugin.source_hash != before
