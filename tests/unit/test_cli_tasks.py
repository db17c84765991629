"""`bench tasks`: what is shown of pairs, and the commands around it."""

import io
import json

import pytest
import yaml
from rich.console import Console
from support import tiny_tokenizers

from arithloc.benchmark.api import Split
from arithloc.benchmark.api.errors import BadOption, PlanError, UnknownName
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.tasks import lm_eval_folder, privacy_note
from arithloc.benchmark.cli.tasks_show import Answers, document, print_draw, strata
from arithloc.benchmark.taskdata.drawing import Privacy, draw

TASK = Reference.parse("addition[digits=d2,shots=1]")


@pytest.fixture(scope="module")
def drawn():
    return draw(TASK, tiny_tokenizers.digits(), Split.TEST, 40)


def printed(drawn, answers=None, n=2, **options):
    out = io.StringIO()
    console = Console(file=out, highlight=False, **{"width": 80, "color_system": None, **options})
    print_draw(drawn, tiny_tokenizers.digits(), n, answers, "somewhere/model", console)
    return out.getvalue()


def test_pairs_are_readable_in_80_columns_without_colour(drawn):
    text = printed(drawn)
    assert "\x1b" not in text and all(len(line) <= 80 for line in text.splitlines() if not line.startswith("hash: "))
    assert drawn.data_hash in text and "40 test pairs" in text
    pair = drawn.pairs[0]
    start = text.index("pair 0 ")
    lines = text[start : text.index("pair 1 ")].splitlines()
    assert f"{pair.classes.count('shot')} tokens in front that no intervention touches (shot)" in lines
    rows = [line.split() for line in lines if line and line.split()[0].isdecimal() and "'" in line]
    shown = [i for i, cls in enumerate(pair.classes) if cls != "shot"]
    assert [int(row[0]) for row in rows] == shown
    named = [row[-2:] if row[-1].startswith("(") else [row[-1], ""] for row in rows]
    assert named == [[pair.classes[i], f"({sub})" if (sub := pair.subclasses[i]) else ""] for i in shown]
    marked = [int(row[0]) for row in rows if "*" in row]
    assert marked == [i for i in shown if pair.clean_ids[i] != pair.counterfactual_ids[i]] != []
    assert f"answer {pair.answer} against counterfactual {pair.answer_cf}" in " ".join(" ".join(lines).split())


def test_colours_go_with_the_classes(drawn):
    text = printed(drawn, n=1, color_system="standard", force_terminal=True)
    assert "\x1b[36m" in text  # the first named class, operand1


def test_strata_are_counted(drawn):
    counts = strata(drawn.pairs)
    for tag, values in counts.items():
        assert sum(values.values()) == 40
        assert all(n == sum((tag, value) in pair.strata for pair in drawn.pairs) for value, n in values.items())
    ones = counts["carry_count"]["1"]
    assert f"1: {ones}" in printed(drawn, n=0)


def test_what_the_model_answers_and_what_was_rejected_is_said(drawn):
    from dataclasses import replace

    rejecting = replace(drawn, rejected={"V1": 3, "X9": 1}, reasons={"V1": "prompts differ in token length"})
    text = " ".join(printed(rejecting, Answers(0.825, 0.5), n=0).split())
    assert "answered: 82.5% among the candidates (kept in cells; fit for localization, which asks for 75%)" in text
    assert "50.0% among all tokens" in text
    assert "rejected candidates: V1 3x (prompts differ in token length); X9 1x" in text
    assert "not fit" in printed(drawn, Answers(0.7, 0.5), n=0).replace("\n", " ")
    assert "not measured: no anatomy" in printed(drawn, Answers(None, None, "no anatomy"), n=0)


def test_the_document_holds_the_same(drawn):
    found = json.loads(json.dumps(document(drawn, tiny_tokenizers.digits(), 1, Answers(0.5, 0.25))))
    assert (found["schema"], found["task"], found["n_pairs"], found["data_hash"]) == (
        1,
        "addition",
        40,
        drawn.data_hash,
    )
    (pair,) = found["pairs"]
    assert [token["class"] for token in pair["tokens"]] == list(drawn.pairs[0].classes)
    assert found["answered"] == {"candidates": 0.5, "anything": 0.25, "problem": ""}


def test_the_folder_of_lm_eval_tasks_is_printed(capsys):
    assert command(["tasks", "lm-eval-path"]) == 0
    assert capsys.readouterr().out == f"{lm_eval_folder()}\n"
    names = {yaml.safe_load(file.read_text())["task"] for file in lm_eval_folder().glob("arithloc_*.yaml")}
    assert {"arithloc_addition", "arithloc_toy_arith"} <= names


def test_a_private_draw_is_described_without_the_seed():
    assert "12.5% of the pairs have operands of a public split" in privacy_note(Privacy("ab" * 32, 0, 0.125))
    assert "no operands of a public split (7 pairs" in privacy_note(Privacy("ab" * 32, 7, 0.0))


def test_wrong_use_is_refused(tmp_path):
    tiny_tokenizers.characters().save_pretrained(tmp_path / "characters")
    here = str(tmp_path / "characters")
    out = str(tmp_path / "out.parquet")
    for arguments, error, words in (
        (["show", "addition"], BadOption, "--model or --tokenizer"),
        (["show", "additio", "--tokenizer", here], UnknownName, "addition"),
        (["show", "toy-arith", "--tokenizer", here], PlanError, "toy"),
        (["show", "addition[digit=d1]", "--tokenizer", here], UnknownName, "digits"),
        (["export", "addition", out, "--tokenizer", "nothing-here"], UnknownName, "nothing-here"),
        (
            ["export", "addition", out, "--tokenizer", here, "--private", "--split", "discovery"],
            BadOption,
            "--split test",
        ),
        (["commit", "--new", out, "--private-seed-file", out], BadOption, "both"),
        (["commit", "--new", str(tmp_path / "seed"), "--season", "1", "--suite", "quik"], UnknownName, "quick"),
    ):
        with pytest.raises(error, match=words):
            command(["tasks", *arguments])
    assert not (tmp_path / "out.parquet").exists()
