"""The distribution: which packages it has, what importing them pulls in, what its wheel holds."""

import doctest
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOP = ("benchmark", "tasks", "methods", "leaderboard")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def folders() -> set[str]:
    found = set()
    for top in TOP:
        for init in (ROOT / top).rglob("__init__.py"):
            found.add("arithloc." + ".".join(init.parent.relative_to(ROOT).parts))
    return found


def modules() -> list[str]:
    names = []
    for package in sorted(folders()):
        path = ROOT.joinpath(*package.split(".")[1:])
        names.append(package)
        names += [f"{package}.{m.name}" for m in pkgutil.iter_modules([str(path)]) if not m.ispkg]
    return [
        n
        for n in names
        if "app_pages." not in n and n not in ("arithloc.leaderboard.app", "arithloc.benchmark.__main__")
    ]


def run(code: str, *, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_packages_in_pyproject_are_the_folders_on_disk() -> None:
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == folders()


def test_every_folder_with_python_files_is_a_package() -> None:
    for top in TOP:
        for file in (ROOT / top).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent.relative_to(ROOT)} has no __init__.py"


@pytest.mark.parametrize("name", TOP)
def test_bare_import_from_a_checkout_is_refused(name: str) -> None:
    result = run(f"import {name}")
    assert result.returncode != 0
    assert f"import arithloc.{name}, not {name}" in result.stderr


@pytest.mark.parametrize(
    "module",
    [
        "benchmark.api",
        "benchmark.api.registry",
        "benchmark.cli",
        "benchmark.storage.repository",
        "leaderboard.data",
        "leaderboard.charts",
    ],
)
def test_import_does_not_pull_torch(module: str) -> None:
    result = run(f"import sys, arithloc.{module}; sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr


def test_every_entry_point_loads() -> None:
    from arithloc.benchmark.api import registry

    for group in (registry.methods, registry.tasks, registry.model_families):
        for plugin in group.all():
            assert isinstance(plugin, registry.Plugin), plugin


@pytest.mark.parametrize("name", modules())
def test_doctests(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_public_names_are_exactly_all() -> None:
    for package in ("arithloc.benchmark.api", "arithloc.benchmark.engine", "arithloc.benchmark.models"):
        module = importlib.import_module(package)
        assert len(set(module.__all__)) == len(module.__all__)
        for name in module.__all__:  # lazily resolved ones too
            assert getattr(module, name) is not None
        own = {n for n, v in vars(module).items() if not n.startswith("_") and not isinstance(v, ModuleType)}
        helpers = {
            n for n in own if getattr(getattr(module, n), "__module__", "").split(".")[0] in ("typing", "importlib")
        }
        assert own - helpers - {"TYPE_CHECKING"} <= set(module.__all__), package


def test_no_file_is_longer_than_400_lines() -> None:
    tracked = [*ROOT.glob("*/**/*.py")]
    long = {
        str(f.relative_to(ROOT))
        for f in tracked
        if ".venv" not in f.parts and "build" not in f.parts and len(f.read_text().splitlines()) > 400
    }
    assert not long


def test_shape_annotations_are_checked_under_pytest() -> None:
    import numpy as np

    from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape, Scores

    space = ComponentSpace(Granularity.NODE, ModelShape(1, 2, 2, 4, 2, 8, 10))
    with pytest.raises(Exception, match=r"(?i)type-check"):
        Scores(space, np.zeros((1, 3)))


def test_wheel_holds_only_the_packages(tmp_path: Path) -> None:
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    for name in [*TOP, "pyproject.toml", "README.md", "LICENSE"]:
        source = ROOT / name
        target = tmp_path / "src" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "-q",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path / "dist"),
            str(tmp_path / "src"),
        ],
        check=True,
        env=env,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    outside = [n for n in names if not n.startswith("arithloc/") and ".dist-info/" not in n]
    assert not outside
    shipped = {n.removeprefix("arithloc/") for n in names if n.endswith(".py")}
    on_disk = {str(f.relative_to(ROOT)) for top in TOP for f in (ROOT / top).rglob("*.py")}
    assert shipped == on_disk
    for data in ("benchmark/py.typed", "leaderboard/.streamlit/config.toml"):
        assert f"arithloc/{data}" in names
