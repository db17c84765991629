"""What the modules of the leaderboard may import, how long they may be, what they may not call."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LEADERBOARD = Path(__file__).parents[2] / "leaderboard"
FILES = sorted(LEADERBOARD.rglob("*.py"))
PURE = ("boards", "cells", "charts", "components", "data", "filters", "raw", "tables", "text", "truth")
WITH_STREAMLIT = {"app.py", "frame.py", "panels.py"}


def test_modules_without_streamlit_load_neither_streamlit_nor_torch():
    code = (
        "import importlib, sys\n"
        f"for name in {PURE!r}: importlib.import_module('arithloc.leaderboard.' + name)\n"
        "print(sorted({'streamlit', 'torch', 'transformers'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_module_is_on_one_side_of_the_boundary():
    modules = {file.name for file in LEADERBOARD.glob("*.py")} - {"__init__.py"}
    assert modules == {f"{name}.py" for name in PURE} | WITH_STREAMLIT


def test_pages_leave_torch_alone():
    code = "import sys, arithloc.leaderboard.panels\nprint(sorted({'torch', 'transformers'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(LEADERBOARD)))
def test_no_raw_html_and_no_long_files(file):
    source = file.read_text()
    called = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert not any(keyword.arg == "unsafe_allow_html" for call in called for keyword in call.keywords)
    assert not any(isinstance(call.func, ast.Attribute) and call.func.attr in ("html", "iframe") for call in called)
    limit = {"app.py": 80}.get(file.name, 150 if file.parent.name == "app_pages" else 400)
    assert len(source.splitlines()) <= limit


def test_the_server_tells_strangers_nothing_about_errors():
    options = tomllib.loads((LEADERBOARD / ".streamlit" / "config.toml").read_text())
    assert options["client"] == {"showErrorDetails": "none", "toolbarMode": "viewer"}
    assert options["browser"]["gatherUsageStats"] is False
    assert options["server"]["enableXsrfProtection"] is True
    assert "enableAgentApi" not in options["server"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_of_entries_are_all_different(theme):
    options = tomllib.loads((LEADERBOARD / ".streamlit" / "config.toml").read_text())["theme"][theme]
    assert len(set(options["chartCategoricalColors"])) == 8
    assert len(options["chartSequentialColors"]) == len(options["chartDivergingColors"]) == 10
