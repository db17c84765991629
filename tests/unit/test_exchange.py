"""Score files: what is read, what is refused, and that writing and reading give the same scores."""

import csv
import json
import math

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape, Scores
from arithloc.benchmark.api.errors import BadScores, UsageError
from arithloc.benchmark.exchange import score_files, tables
from arithloc.benchmark.exchange.score_files import Missing, ScoreFormat, read_score_file, score_data, scores_of

SHAPE = ModelShape(2, 4, 2, d_model=8, d_head=2, d_mlp=3, vocab=5)
EDGES = ComponentSpace(Granularity.EDGE, SHAPE)
NODES = ComponentSpace(Granularity.NODE, SHAPE)


def spaces():
    for granularity in Granularity:
        for parallel in (False, True):
            yield ComponentSpace(granularity, ModelShape(2, 4, 2, 8, 2, 3, 5, parallel=parallel))


def written(folder, scores, form, ending):
    file = folder / f"scores.{ending}"
    file.write_bytes(score_data(scores, form))
    return file


@pytest.mark.parametrize("space", [*spaces(), ComponentSpace(Granularity.NODE, SHAPE, ("op", "last"))])
@pytest.mark.parametrize(("form", "ending"), [(ScoreFormat.CSV, "csv"), (ScoreFormat.PARQUET, "parquet")])
def test_tables_round_trip_exactly(tmp_path, space, form, ending):
    values = np.random.default_rng(0).normal(size=len(space)) * 1e-17
    file = read_score_file(written(tmp_path, Scores.of(space, values), form, ending))
    assert file.granularity is space.granularity
    assert scores_of(file, space).values.tolist() == values.tolist()


@pytest.mark.parametrize("space", [s for s in spaces() if s.granularity in (Granularity.NODE, Granularity.EDGE)])
def test_circuit_files_round_trip(tmp_path, space):
    values = np.random.default_rng(1).normal(size=len(space))
    path = written(tmp_path, Scores.of(space, values), ScoreFormat.MIB, "json")
    document = json.loads(path.read_text())
    # every node, and one edge for each query head: the closed form of the un-grouped graph
    heads, layers = SHAPE.n_heads, SHAPE.n_layers
    reads = layers + (heads + 1) * layers * (layers - 1) // 2
    own = 0 if space.shape.parallel else layers * heads
    assert len(document["edges"]) == (3 * heads + 1) * reads + own + 1 + layers * (heads + 1)
    assert len(document["nodes"]) == 2 + layers * (heads + 1)
    back = scores_of(read_score_file(path), space).values
    np.testing.assert_allclose(back, values, rtol=1e-15)


def graph(edges, nodes=None, **config):
    cfg = {"n_layers": 2, "n_heads": 4, "d_model": 8, "parallel_attn_mlp": False, **config}
    nodes = nodes or {"input": {"in_graph": True}}
    return json.dumps({"cfg": cfg, "nodes": nodes, "edges": edges})


def edge_graph(default=0.0, **given):
    """All un-grouped edges of the model with one score."""
    edges = {}
    for name in EDGES.names:
        sender, reader = name.split("->")
        for head in [2 * int(reader[4]), 2 * int(reader[4]) + 1] if reader[-3:] in ("<k>", "<v>") else [None]:
            edges[name if head is None else f"{sender}->{reader[:4]}{head}{reader[5:]}"] = {
                "score": default,
                "in_graph": False,
            }
    return edges


def saved(folder, text, name="scores.json"):
    (folder / name).write_text(text)
    return folder / name


def test_scores_of_query_heads_that_share_a_key_are_added(tmp_path):
    edges = edge_graph()
    edges["input->a0.h2<k>"]["score"] = 0.5  # query heads 2 and 3 share key head 1
    edges["input->a0.h3<k>"]["score"] = -0.125
    edges["a0.h1->m1"]["score"] = 2.0
    found = scores_of(read_score_file(saved(tmp_path, graph(edges))), EDGES)
    by_name = dict(zip(EDGES.names, found.values.tolist(), strict=True))
    assert by_name["input->a0.h1<k>"] == 0.375 and by_name["a0.h1->m1"] == 2.0
    assert math.fsum(np.abs(found.values)) == 2.375


def test_a_circuit_file_without_scores_is_a_set_of_edges(tmp_path):
    edges = {name: {"in_graph": name == "m0->logits"} for name in edge_graph()}
    found = scores_of(read_score_file(saved(tmp_path, graph(edges))), EDGES)
    assert [EDGES.name(int(i)) for i in np.flatnonzero(found.values)] == ["m0->logits"]


def test_node_scores_come_before_edge_scores_and_nan_is_no_score(tmp_path):
    nodes = {name: {"in_graph": True, "score": float(i)} for i, name in enumerate(NODES.names)}
    nodes["input"] = {"in_graph": True, "score": float("nan")}
    file = read_score_file(saved(tmp_path, graph(edge_graph(), nodes)))
    assert scores_of(file, NODES).values.tolist() == list(range(10))
    nodes["a1.h2"]["score"] = float("nan")
    file = read_score_file(saved(tmp_path, graph(edge_graph(), nodes)))
    with pytest.raises(BadScores, match=r"none for a1\.h2.*1 are missing.*missing=zero"):
        scores_of(file, NODES)
    assert scores_of(file, NODES, Missing.ZERO).values.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 8, 9]


NODE_CSV = "component,score\n" + "".join(f"{name},1\n" for name in NODES.names)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.txt", NODE_CSV, ".csv, .parquet or .json"),
        ("x.csv", "component,value\nm0,1\n", "column 'score'"),
        ("x.csv", "component,score,score\nm0,1,2\n", "column 'score'"),
        ("x.csv", NODE_CSV + "m0,2\n", "'m0' twice"),
        ("x.csv", NODE_CSV + "m0\n", "2 values in line 12"),
        ("x.csv", "component,score\nm0,nan\n", "line 2 of 'x.csv', found 'nan'"),
        ("x.csv", "component,score\nm0,one\n", "found 'one'"),
        ("x.csv", "component,score\nblocks.0,1\n", "names of components"),
        ("x.csv", "component,score\nm0.n1,1\na0.h1,1\n", "one granularity"),
        ("x.csv", "component,score\n", "found none"),
        ("x.parquet", "PAR1 no table", "is no Parquet table"),
        ("x.json", "{", "circuit JSON"),
        ("x.json", "[" * 100_000, "circuit JSON"),
        ("x.json", '{"cfg": {}, "nodes": {}, "edges": {}}', "cfg.n_layers"),
        ("x.json", graph({"m0->logits": {"score": "1"}}), "edges.m0->logits.score"),
        ("x.json", graph({"m0->logits": {"score": float("inf")}}), "found inf for 'm0->logits'"),
        ("x.json", graph({"m0->logits": {"score": 1.0}})[:-2] + ', "m0->logits": {"score": 1.0}}}', "twice"),
        ("x.json", graph({}, {"m0": {"neurons": [True, False]}}), "output dimensions"),
    ],
)  # fmt: skip
def test_what_is_no_score_file_is_refused(tmp_path, name, text, words):
    with pytest.raises(UsageError) as caught:
        read_score_file(saved(tmp_path, text, name))
    assert words in str(caught.value) and len(str(caught.value)) < 700


UNGROUPED = ComponentSpace(Granularity.EDGE, ModelShape(2, 4, 4, d_model=8, d_head=2, d_mlp=3, vocab=5))


def full_graph(space, **more):
    document = json.loads(score_data(Scores.of(space, np.ones(len(space))), ScoreFormat.MIB))
    return {**document, "edges": document["edges"] | {name: {"score": score} for name, score in more.items()}}


@pytest.mark.parametrize("name", ["input->a0.h01<k>", "input->a0.h\u0661<k>", f"input->a0.h{'9' * 5000}<k>"])
def test_a_head_has_one_name(tmp_path, name):
    """Other spellings of a number neither count as a second score of the head nor end the program."""
    file = read_score_file(saved(tmp_path, json.dumps(full_graph(UNGROUPED, **{name: 5.0}))))
    with pytest.raises(BadScores, match="1 of 111 are unknown"):
        scores_of(file, UNGROUPED)


def test_a_shared_key_needs_the_scores_of_all_its_query_heads(tmp_path):
    document = full_graph(EDGES, **{"input->a0.h0<k>": float("nan")})
    file = read_score_file(saved(tmp_path, json.dumps(document)))
    with pytest.raises(BadScores, match=r"none for input->a0\.h0<k>.*1 are missing"):
        scores_of(file, EDGES)
    found = dict(zip(EDGES.names, scores_of(file, EDGES, Missing.ZERO).values.tolist(), strict=True))
    assert found["input->a0.h0<k>"] == 0.5 and found["input->a0.h1<k>"] == 1


def test_scores_that_add_up_to_infinity_are_refused(tmp_path):
    huge = dict.fromkeys(("input->a0.h0<k>", "input->a0.h1<k>"), 1.7e308)
    file = read_score_file(saved(tmp_path, json.dumps(full_graph(EDGES, **huge))))
    with pytest.raises(BadScores, match=r"found inf for component input->a0\.h0<k>"):
        scores_of(file, EDGES)


def test_damaged_parquet_is_one_sentence(tmp_path):
    """Every tenth byte of a table damaged, one at a time."""
    whole = score_data(Scores.of(NODES, np.ones(len(NODES))), ScoreFormat.PARQUET)
    refused = 0
    for at in range(0, len(whole), 10):
        path = tmp_path / "x.parquet"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            scores_of(read_score_file(path), NODES)
        except (UsageError, BadScores) as error:
            assert "\n" not in str(error) and len(str(error)) < 700
            refused += 1
    assert refused > len(whole) / 40


def test_hostile_tables(tmp_path, monkeypatch):
    def refusal(**columns):
        parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
        with pytest.raises(UsageError) as caught:
            read_score_file(tmp_path / "x.parquet")
        return str(caught.value)

    assert "nested" in refusal(component=["m0"], score=[[1.0]])
    assert "nested" in refusal(component=[{"m0": 1}], score=[1.0])
    assert "found None" in refusal(component=["m0"], score=[None])
    # 200 kB of names in a file of some kB: held once, not for each of a million rows (that would be 200 GB)
    names = pyarrow.DictionaryArray.from_arrays(np.zeros(1_000_000, dtype=np.int32), ["m" * 200_000])
    assert "twice" in refusal(component=names, score=np.ones(1_000_000))
    monkeypatch.setattr(tables, "MAX_UNPACKED", 1000)
    assert "0 MiB unpacked" in refusal(component=[f"m{i}" for i in range(1000)], score=np.ones(1000))


def test_missing_and_huge_files(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="found none"):
        read_score_file(tmp_path / "nothing.csv")
    monkeypatch.setattr(score_files, "MAX_BYTES", 10)
    with pytest.raises(UsageError, match="at most"):
        read_score_file(saved(tmp_path, NODE_CSV, "x.csv"))


def test_scores_of_another_model_are_refused(tmp_path):
    file = read_score_file(saved(tmp_path, NODE_CSV, "x.csv"))
    with pytest.raises(BadScores, match="--granularity node"):
        scores_of(file, EDGES)
    small = ComponentSpace(Granularity.NODE, ModelShape(1, 4, 2, 8, 2, 3, 5))
    with pytest.raises(BadScores, match=r"'a1\.h0'.*5 of 10 are unknown"):
        scores_of(file, small)
    other = read_score_file(saved(tmp_path, graph(edge_graph(), n_layers=3)))
    with pytest.raises(BadScores, match="n_layers 2, found 3"):
        scores_of(other, EDGES)


def test_no_name_for_hidden_units_in_circuit_files():
    space = ComponentSpace(Granularity.NEURON, SHAPE)
    with pytest.raises(UsageError, match="neuron scores"):
        score_data(Scores.of(space, np.zeros(len(space))), ScoreFormat.MIB)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(10)), st.lists(st.floats(-1e300, 1e300), min_size=10, max_size=10), st.booleans())
def test_the_order_of_rows_and_other_columns_do_not_matter(tmp_path_factory, order, values, bom):
    path = tmp_path_factory.mktemp("order") / "x.csv"
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(["rank", "score", "component"])
        rows.writerows([i, repr(values[i]), NODES.name(i)] for i in order)
    assert scores_of(read_score_file(path), NODES).values.tolist() == values
