"""`bench toy map` draws what a method finds, whatever the method."""

from xml.etree import ElementTree

import pytest

from arithloc.benchmark.api import UnsupportedGranularity
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.metrics.map_drawing import PROVEN
from arithloc.tasks.toy.models import COMPILED

SVG = "{http://www.w3.org/2000/svg}"
SEARCH = "subtask-search[questions=8,variables=SA]"


@pytest.mark.parametrize(("method", "shown"), [("useful-nodes", "useful-nodes"), (SEARCH, "SA1")])
def test_map_of_a_toy(method, shown, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARITHLOC_CACHE", str(tmp_path / "cache"))
    target = tmp_path / "map.svg"
    assert command(["toy", "map", "toy-a-base-1", "--method", method, "--pairs", "60", "--out", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    picture = ElementTree.fromstring(target.read_text(encoding="utf-8"))  # noqa: S314  (our own text)
    proven = sum(label == "in" for node in COMPILED[0].truth()["nodes"] for label in node["classes"].values())
    assert sum(rect.get("stroke") == PROVEN for rect in picture.iter(f"{SVG}rect")) == proven
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert any(text and shown in text for text in texts)


def test_a_method_without_node_scores_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ARITHLOC_CACHE", str(tmp_path))
    with pytest.raises(UnsupportedGranularity, match="useful-nodes"):
        command(["toy", "map", "toy-a-base-1", "--method", "eap"])
