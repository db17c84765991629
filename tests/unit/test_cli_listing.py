"""`bench list`: what is registered, and what does not load."""

import json
from types import SimpleNamespace

import pytest

from arithloc.benchmark.api import MethodInfo
from arithloc.benchmark.api.registry import BrokenPlugin, Plugin, Registry
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.listing import _natural
from arithloc.benchmark.runner.suites import SUITES


@pytest.fixture
def plugins(monkeypatch):
    good = type("Good", (), {"info": MethodInfo(name="good", summary="It is [good].", granularities={"node"})})
    odd = type("Odd", (), {"info": SimpleNamespace(summary="no granularities")})
    found = [
        Plugin("good", "arithloc", "1", good),
        Plugin("dist/odd", "dist", "1", odd),
        BrokenPlugin("dist/worst", "dist", "ImportError: no module"),
    ]
    monkeypatch.setattr(Registry, "all", lambda self: found)


def test_broken_plugins_are_shown_with_their_error_and_the_others_as_usual(plugins, capsys):
    assert command(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("good ") and "It is [good]." in line for line in lines)
    assert "broken: dist/worst of dist: ImportError: no module" in lines
    assert any(line.startswith("broken: dist/odd of dist: no usable `info`: AttributeError") for line in lines)


def test_the_document_has_a_schema_and_one_item_each(plugins, capsys):
    assert command(["list", "methods", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert [item["name"] for item in document["methods"]] == ["good", "dist/odd", "dist/worst"]
    assert [bool(item["error"]) for item in document["methods"]] == [False, True, True]


def test_suites_and_models_are_listed(capsys):
    assert command(["list", "suites", "--json"]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)["suites"]] == list(SUITES)
    assert command(["list", "models", "--json"]) == 0
    models = {item["name"]: item["kind"] for item in json.loads(capsys.readouterr().out)["models"]}
    assert models["toy-a-base-1"] == "toy" and models["smollm2"] == "pretrained"


def test_numbers_in_names_sort_as_numbers():
    assert sorted(["toy-10", "toy-9", "toy-b"], key=_natural) == ["toy-b", "toy-9", "toy-10"]
