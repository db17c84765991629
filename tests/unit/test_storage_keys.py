"""Keys: the same everywhere, changed by what determines a result and by nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path

import pytest
from support.results import METHOD, MODEL, SPEC, TASK

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.storage import keys
from arithloc.benchmark.storage.records import CellSpec
from arithloc.benchmark.storage.text import canonical_json

GOLDEN = Path(__file__).parents[1] / "support" / "golden_keys.json"

SPECS = {
    "usual": SPEC,
    "positions": replace(SPEC, positions=("operand1", "last"), ablation=Ablation.MEAN),
    "options": replace(
        SPEC, method=replace(METHOD, options={"rate": 0.1, "deep": True, "parts": [1, 2.5], "none": None})
    ),
    "accents": replace(SPEC, method=replace(METHOD, name="m\u00e9thode")),
}

OTHER = {
    "discovery_hash": "0" * 64,
    "evaluation_hash": "0" * 64,
    "granularity": Granularity.LAYER,
    "positions": ("last",),
    "ablation": Ablation.ZERO,
    "metric": "prob_diff",
    "seed": 1,
    "dtype": "float64",
    "attention": "sdpa",
    "n_discovery": 33,
    "n_evaluation": 65,
    "n_draws": 51,
    "n_sizes": 17,
    "engine_version": 2,
    "scoring_version": 2,
    "discovery_kind": "same_answer",
    "private_commitment": "c" * 64,
}
METHOD_IN = {"name": "x", "version": "x", "distribution": "x", "source_hash": "x", "options": {}}
METHOD_OUT = {"granularities": (), "access": "x", "summary": "x", "reference": "x", "sanity": True, "title": "x"}
TASK_IN = {"name": "x", "version": "x", "distribution": "x", "options": {}}
TASK_OUT = {"source_hash": "x", "family": "x", "control_for": "x", "summary": "x"}
MODEL_IN = {"name": "x", "revision": "x", "weights_hash": "x", "config_hash": "x", "tokenizer_hash": "x"}
MODEL_OUT = {
    "family": "x", "n_layers": 9, "n_heads": 9, "n_kv_heads": 9, "d_model": 9, "d_mlp": 9, "n_params": 9, "n_edges": 9,
    "is_toy": False,
}  # fmt: skip
SCORING = ("evaluation_hash", "n_evaluation", "n_draws", "n_sizes", "scoring_version", "private_commitment")

DETERMINING = {
    **{name: replace(SPEC, **{name: value}) for name, value in OTHER.items()},
    **{f"method.{name}": replace(SPEC, method=replace(METHOD, **{name: value})) for name, value in METHOD_IN.items()},
    **{f"task.{name}": replace(SPEC, task=replace(TASK, **{name: value})) for name, value in TASK_IN.items()},
    **{f"model.{name}": replace(SPEC, model=replace(MODEL, **{name: value})) for name, value in MODEL_IN.items()},
}
COSMETIC = {
    **{f"method.{name}": replace(SPEC, method=replace(METHOD, **{name: value})) for name, value in METHOD_OUT.items()},
    **{f"task.{name}": replace(SPEC, task=replace(TASK, **{name: value})) for name, value in TASK_OUT.items()},
    **{f"model.{name}": replace(SPEC, model=replace(MODEL, **{name: value})) for name, value in MODEL_OUT.items()},
}


def test_keys_are_those_of_the_golden_file():
    """A change of this file is a change of every key: all results would be computed again."""
    found = {
        name: {"cell": keys.cell_key(s), "localization": keys.localization_key(s), "question": keys.question_key(s)}
        for name, s in SPECS.items()
    }
    assert found == json.loads(GOLDEN.read_text())


def test_every_field_is_either_in_the_key_or_cosmetic():
    named = {*DETERMINING, *COSMETIC}
    expected = {f.name for f in fields(CellSpec)} - {"method", "task", "model"}
    for part, record in (("method", METHOD), ("task", TASK), ("model", MODEL)):
        expected |= {f"{part}.{f.name}" for f in fields(record)}
    assert named == expected


@pytest.mark.parametrize("name", DETERMINING)
def test_what_determines_the_result_changes_the_key(name):
    changed = DETERMINING[name]
    assert keys.cell_key(changed) != keys.cell_key(SPEC)
    assert (keys.localization_key(changed) == keys.localization_key(SPEC)) == (name in SCORING)
    assert (keys.question_key(changed) == keys.question_key(SPEC)) == (name == "seed" or name.startswith("method."))


@pytest.mark.parametrize("name", COSMETIC)
def test_what_is_for_display_does_not_change_the_key(name):
    changed = COSMETIC[name]
    assert keys.cell_key(changed) == keys.cell_key(SPEC)
    assert keys.localization_key(changed) == keys.localization_key(SPEC)
    assert keys.entry_id(changed.method) == keys.entry_id(SPEC.method)


def test_option_order_and_number_type_do_not_change_the_key():
    forward = replace(SPEC, method=replace(METHOD, options={"a": 1, "b": 2.0, "c": 0.5}))
    backward = replace(SPEC, method=replace(METHOD, options={"c": 0.5, "b": 2, "a": 1.0}))
    assert keys.cell_key(forward) == keys.cell_key(backward)
    true = replace(SPEC, method=replace(METHOD, options={"a": True, "b": 2, "c": 0.5}))
    assert keys.cell_key(true) != keys.cell_key(forward)


def test_keys_are_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from support.results import SPEC; from arithloc.benchmark.storage.keys import cell_key; print(cell_key(SPEC))"
    )
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == keys.cell_key(SPEC)


def test_entry_ids_can_be_used_in_addresses():
    assert keys.entry_id(METHOD).startswith("mediation-")
    odd = replace(METHOD, name="acme/**b\u00f6ld** \u05e9\u05d9 <x>")
    assert keys.entry_id(odd).startswith("acme-bold-x-")
    assert keys.entry_id(replace(METHOD, name="\u05e9\u05d9")).startswith("entry-")
    assert keys.entry_id(replace(METHOD, options={})) != keys.entry_id(METHOD)
    assert keys.method_id(replace(METHOD, options={})) == keys.method_id(METHOD)


class Colour(StrEnum):
    RED = "red"


def test_canonical_json_by_hand():
    value = {"b": (1.0, -0.0, 0.5), "a": {"z", "y"}, "e\u0301": Colour.RED, "n": None, "t": True}
    assert canonical_json(value) == '{"a":["y","z"],"b":[1,0,0.5],"n":null,"t":true,"\u00e9":"red"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1: 2}, {"\u00e9": 1, "e\u0301": 2}, object()])
def test_canonical_json_refuses_what_is_not_json(value):
    with pytest.raises(ValueError, match="expected"):
        canonical_json({"x": [value]})
