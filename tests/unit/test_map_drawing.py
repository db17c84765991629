"""Maps: one cell per node and position, dark where the score is large, the proven circuit outlined."""

from xml.etree import ElementTree

import numpy as np
import pytest

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape, Scores
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.metrics.map_drawing import PROVEN, map_svg

SVG = "{http://www.w3.org/2000/svg}"
SHAPE = ModelShape(n_layers=1, n_heads=2, n_kv_heads=2, d_model=4, d_head=2, d_mlp=4, vocab=5)


def test_cells_by_hand():
    space = ComponentSpace(Granularity.NODE, SHAPE, ("x0", "eq"))
    scores = Scores.of(space, np.array([[[0.0, -0.5], [0.25, 0.001], [1.0, 0.0]]]))
    picture = ElementTree.fromstring(map_svg(scores, "A & B", tags={"m0@x0": "SA0"}, proven=["m0@x0"]))  # noqa: S314
    cells = {g.find(f"{SVG}title").text: g for g in picture.iter(f"{SVG}g")}
    texts = {name: cell.find(f"{SVG}text").text or "" for name, cell in cells.items()}
    assert texts == {
        "a0.h0@x0: 0": "",
        "a0.h0@eq: 0.5": "0.50",
        "a0.h1@x0: 0.25": "0.25",
        "a0.h1@eq: 0.001": "",
        "m0@x0: 1": "SA0",
        "m0@eq: 0": "",
    }
    fills = {name: cell.find(f"{SVG}rect").get("fill") for name, cell in cells.items()}
    assert fills["m0@x0: 1"] == "#08519C" and fills["m0@eq: 0"] == "#F7FBFF"
    # the MLP, top of the layer, is the highest row; its first cell alone is outlined
    outlines = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("stroke") == PROVEN]
    cell = cells["m0@x0: 1"].find(f"{SVG}rect")
    assert [float(outlines[0].get(k)) - float(cell.get(k)) for k in "xy"] == [1.5, 1.5] and len(outlines) == 1
    assert float(cell.get("y")) < float(cells["a0.h0@x0: 0"].find(f"{SVG}rect").get("y"))


def test_scores_without_positions_are_refused():
    space = ComponentSpace(Granularity.NODE, SHAPE)
    with pytest.raises(BadOption, match="position classes"):
        map_svg(Scores.of(space, np.zeros((1, 3))), "title")
