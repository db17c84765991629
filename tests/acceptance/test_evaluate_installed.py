"""A third-party distribution with a method: installed, listed, evaluated; a broken one is reported by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(sys.executable).parent / "bench"
PACKAGE = Path(__file__).parents[1] / "plugin_package"

BROKEN = {
    "METADATA": "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n",
    "entry_points.txt": "[arithloc.methods]\nworst = broken_plugin:Worst\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed distributions: the real plugin, and one whose import fails."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "package"
    source.mkdir()
    for path in PACKAGE.rglob("*"):  # a copy: building must not leave files in the checkout
        if path.is_file() and "egg-info" not in str(path) and "build" not in path.parts:
            target = source / path.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder), str(source)], check=True, capture_output=True)
    info = folder / "broken_plugin-1.0.dist-info"
    info.mkdir()
    for name, text in BROKEN.items():
        (info / name).write_text(text)
    (folder / "broken_plugin.py").write_text("import a_module_that_nobody_has\n")
    return folder


@pytest.fixture
def bench(site, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(site), "ARITHLOC_CACHE": str(tmp_path / "cache")}
    environment.pop("ARITHLOC_PLUGINS", None)

    def run(*arguments):
        return subprocess.run(
            [str(BENCH), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    return run


def test_an_installed_method_is_listed_and_runs_like_a_built_in_one(bench):
    listed = {item["name"]: item for item in json.loads(bench("list", "methods", "--json").stdout)["methods"]}
    ours = listed["arithloc-weight-norm/weight-norm"]
    assert ours["origin"] == "arithloc-weight-norm" and not ours["error"]
    done = bench(
        "evaluate", "--method", "arithloc-weight-norm/weight-norm", "--option", "arithloc-weight-norm/weight-norm.power=2",
        "--model", "toy-a-base-1", "--granularity", "node", "--limit", "4", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["method"] == "arithloc-weight-norm/weight-norm" and cell["status"] == "ok"
    assert cell["title"] == "arithloc-weight-norm/weight-norm[power=2.0]"
    view = json.loads(bench("show", cell["key"][:8], "--json").stdout)
    assert view["environment"]["packages"]["arithloc-weight-norm"]
    assert view["entry"]["kind"] == "plugin"


def test_a_broken_distribution_is_reported_by_name_and_stops_nothing(bench):
    listed = {item["name"]: item for item in json.loads(bench("list", "methods", "--json").stdout)["methods"]}
    assert "ModuleNotFoundError" in listed["broken-plugin/worst"]["error"]
    assert "a_module_that_nobody_has" in bench("list", "methods").stdout
    assert listed["mediation"]["error"] == ""
    done = bench("evaluate", "--method", "broken-plugin/worst", "--model", "toy-a-base-1")
    assert done.returncode == 2 and "broken-plugin" in done.stderr and "Traceback" not in done.stderr
    doctor = bench("doctor")
    assert doctor.returncode == 1 and "PROBLEM" in doctor.stdout and "worst" in doctor.stdout
