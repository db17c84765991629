"""Every error of the command line: one message on stderr, the right exit code, no traceback unless asked for."""

import subprocess
import sys

import pytest
import typer

from arithloc.benchmark.api.errors import BadScores, NoFastTokenizer, UnknownName
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.guard import guarded


def raising(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UnknownName("No method is called 'x'."), 2, "error: No method is called 'x'.\n"),
        (NoFastTokenizer("Expected a fast tokenizer."), 2, "error: Expected a fast tokenizer.\n"),
        (BadScores("Expected finite scores."), 1, "error: Expected finite scores.\n"),
        (KeyboardInterrupt(), 130, "interrupted.\n"),
        (typer.Abort(), 130, "interrupted.\n"),
        (typer.BadParameter("not a number"), 2, "error: Invalid value: not a number\n"),
        (ZeroDivisionError("division by zero"), 1, "error: unexpected ZeroDivisionError: division by zero. Run again with --debug for the details.\n"),
    ],
)  # fmt: skip
def test_errors_become_one_message_and_an_exit_code(capsys, error, code, message):
    assert guarded(raising(error), []) == code
    captured = capsys.readouterr()
    assert captured.err == message and captured.out == ""


def test_debug_shows_the_traceback_wherever_it_stands(capsys):
    seen = []

    def run(arguments):
        seen.append(list(arguments))
        raise ValueError("here")

    assert guarded(run, ["evaluate", "--debug", "--json"]) == 1
    assert seen == [["evaluate", "--json"]]
    assert "Traceback" in capsys.readouterr().err


def test_the_exit_code_of_a_command_is_passed_on():
    assert guarded(lambda arguments: 7, []) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluat"], "evaluate"),
        (["evaluate", "--granularity", "atom"], "node"),
        (["evaluate", "--seed", "x"], "seed"),
        (["evaluate", "--limit", "0"], "limit"),
        (["evaluate", "--timeout", "-1"], "timeout"),
        (["evaluate", "--dtype", "int8"], "float32"),
        (["evaluate", "--retry", "ok"], "failed"),
        (["evaluate", "--executor", "cloud"], "local"),
        (["evaluate", "--no-such-option"], "no-such-option"),
        (["list", "everything"], "methods"),
        (["evaluate", "--suite", "quik"], "quick"),
        (["evaluate", "--method", "mediatoin"], "mediation"),
        (["evaluate", "--method", "cna[mode"], "bracket"),
        (["evaluate", "--task", "adition"], "addition"),
        (["evaluate", "--option", "cna.mode"], "name.field=value"),
        (["evaluate", "--option", "nobody.x=1"], "nobody"),
        (["evaluate", "--method", "./nowhere.py:X"], "nowhere.py"),
    ],
)
def test_wrong_usage_is_refused_before_anything_starts(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert guarded(command, arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and words in captured.err
    assert "Traceback" not in captured.err and captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_is_complete_and_exits_0(capsys):
    assert guarded(command, ["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("evaluate", "list", "show", "leaderboard", "export", "merge", "doctor", "models"):
        assert name in shown
    assert guarded(command, ["evaluate", "--help"]) == 0
    shown = capsys.readouterr().out
    for name in (
        "suite", "method", "task", "model", "granularity", "ablation", "seed", "limit", "option", "device", "dtype",
        "db", "results", "timeout", "retry", "force-incapable", "dry-run", "json", "executor",
    ):  # fmt: skip
        assert f"--{name}" in shown


@pytest.mark.parametrize(
    "code",
    [
        "import arithloc.benchmark.cli",
        "import arithloc.benchmark.cli.evaluation",
        "from arithloc.benchmark.cli.app import command; command(['--help'])",
        "from arithloc.benchmark.cli.app import command; command(['list', 'suites'])",
        "from arithloc.benchmark.cli.app import command; command(['list', 'tasks'])",
        "from arithloc.benchmark.cli.app import command; command(['list', 'models'])",
    ],
)
def test_the_command_does_not_import_torch(code):
    check = "; import sys; assert not {'torch', 'transformers', 'streamlit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code + check], check=True, capture_output=True)
