"""Pictures of circuits: every node and every edge of the circuit is there, and no edge runs through a node."""

import re
import sys
from xml.etree import ElementTree

import pytest

from arithloc.benchmark.api.errors import BadOption, MissingExtra, UnknownName, UsageError
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.benchmark.metrics.truth_drawing import GREY, HEIGHT, circuit_svg
from arithloc.tasks.toy.models import COMPILED

SVG = "{http://www.w3.org/2000/svg}"
BY_NAME = {source.name: source for source in COMPILED}


@pytest.fixture(scope="module", params=["toy-a-base-3", "toy-a-stress-7", "toy-a-stress-13"])
def drawn(request):
    document = read_truth_document(BY_NAME[request.param].truth())
    return document, ElementTree.fromstring(circuit_svg(document))  # noqa: S314  (our own text)


def boxes(picture):
    return [group.find(f"{SVG}rect") for group in picture.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None]


def test_every_node_has_a_box_with_its_role_and_what_is_outside_is_grey(drawn):
    document, picture = drawn
    fills = {}
    for group in picture.iter(f"{SVG}g"):
        if group.find(f"{SVG}rect") is not None:
            name, role = (text.text for text in group.iter(f"{SVG}text"))
            fills[name] = (role, group.find(f"{SVG}rect").get("fill"))
    assert set(fills) == {node.id for node in document.nodes} | {"input", "logits"}
    for node in document.nodes:
        role, fill = fills[node.id]
        assert role == (node.role or "no role") and (fill == GREY[0]) == (node.label == "out")


def test_every_edge_of_the_circuit_has_a_line_and_static_ones_have_none(drawn):
    document, picture = drawn
    lines = [
        g.find(f"{SVG}title").text.split(":")[0] for g in picture.iter(f"{SVG}g") if g.find(f"{SVG}path") is not None
    ]
    assert sorted(lines) == sorted(edge.name for edge in document.edges if edge.label != "static")


def test_no_line_runs_through_a_box(drawn):
    _, picture = drawn
    for path in picture.iter(f"{SVG}path"):
        numbers = [float(v) for v in re.findall(r"-?[\d.]+", path.get("d"))]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        ends = [points[0], *points[3::3]]
        for (x1, y1), (x2, y2) in zip(ends[1:-2:2], ends[2:-1:2], strict=True):
            # the straight part beside a row of boxes
            assert x1 == x2 and y1 - y2 == HEIGHT
            for box in boxes(picture):
                left, top = float(box.get("x")), float(box.get("y"))
                if top == y2:
                    assert x1 < left or x1 > left + float(box.get("width"))


def test_the_command_writes_a_file_and_says_what_it_cannot_do(tmp_path, monkeypatch, capsys):
    target = tmp_path / "pictures" / "one.svg"
    assert command(["toy", "draw", "toy-a-base-1", "--out", str(target)]) == 0
    assert target.read_text(encoding="utf-8").startswith("<svg") and str(target) in capsys.readouterr().out
    for name, error in (("toy-a-bse-1", UnknownName), ("smollm2", UsageError)):
        with pytest.raises(error, match="toy"):
            command(["toy", "draw", name, "--out", str(target)])
    with pytest.raises(BadOption, match="svg"):
        command(["toy", "draw", "toy-a-base-1", "--out", str(tmp_path / "one.pdf")])
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingExtra, match="docs"):
        command(["toy", "draw", "toy-a-base-1", "--out", str(tmp_path / "one.png")])
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
