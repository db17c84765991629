"""Small cells, results and environments for tests of the results database."""

from dataclasses import replace
from typing import Any

import numpy as np

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.storage.records import (
    Attempt,
    CellResult,
    CellSpec,
    CurvePoint,
    DatasetRecord,
    Direction,
    Environment,
    MethodRecord,
    ModelRecord,
    RankingRule,
    RocPoint,
    ScoreRecord,
    Status,
    TaskRecord,
)

METHOD = MethodRecord(
    name="mediation",
    version="1",
    distribution="arithloc",
    source_hash="5" * 64,
    options={"effect": "indirect", "share": 0.5},
    granularities=("layer", "node"),
    access="forward",
    summary="Causal mediation.",
    reference="arXiv:2305.15054",
)
TASK = TaskRecord(
    name="addition",
    version="1",
    distribution="arithloc",
    source_hash="7" * 64,
    options={"digits": 2, "frame": "equals"},
    family="arithmetic",
    control_for="",
    summary="Two-operand addition.",
)
MODEL = ModelRecord(
    name="toy-a-base-1",
    revision="c" * 40,
    weights_hash="1" * 64,
    config_hash="2" * 64,
    tokenizer_hash="3" * 64,
    family="gpt2",
    n_layers=2,
    n_heads=4,
    n_kv_heads=4,
    d_model=32,
    d_mlp=64,
    n_params=25_000,
    n_edges=200,
    is_toy=True,
)
SPEC = CellSpec(
    method=METHOD,
    task=TASK,
    model=MODEL,
    discovery_hash="d" * 64,
    evaluation_hash="e" * 64,
    granularity=Granularity.NODE,
    positions=(),
    ablation=Ablation.COUNTERFACTUAL,
    metric="logit_diff",
    seed=0,
    dtype="float32",
    attention="eager",
    n_discovery=32,
    n_evaluation=64,
    n_draws=50,
    n_sizes=16,
    engine_version=1,
    scoring_version=1,
)
ENVIRONMENT = Environment(
    python="3.11.9",
    os="Linux 6.1",
    cpu="a processor",
    gpu="",
    packages={"numpy": "2.3.0", "torch": "2.13.0"},
    code_version="0.1.0",
    code_commit="a" * 40,
    code_dirty=False,
    determinism={"threads": 1},
)


def attempt(status: Status = Status.OK, **changes: Any) -> Attempt:
    """One try, of an instant in 2026."""
    usual = Attempt(status, "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:06.000Z", "cpu:0", "local")
    if status is not Status.OK:
        usual = replace(usual, error_type="ValueError", error_message="expected 1, found 2", exit_code=1)
    return replace(usual, **changes)


def result(seed: int = 0, *, n_draws: int = 50, shift: float = 0.0) -> CellResult:
    """A result with every kind of row; `shift` is added to the first score, its replicates and the curve."""
    rng = np.random.default_rng(seed)
    area = rng.normal(0.6, 0.05, n_draws)
    sizes = np.geomspace(0.01, 1.0, 6)
    recovery = np.linspace(-0.1, 1.1, 6)
    curve = tuple(
        CurvePoint("kept", RankingRule.ABSOLUTE, i, i + 1, float(s), float(s), 3.0 * float(f), float(f) + shift)
        for i, (s, f) in enumerate(zip(sizes, recovery, strict=True))
    )
    return CellResult(
        scores=(
            ScoreRecord("faithfulness_area", float(area.mean()) + shift, 0.5, 0.7, 0.05, 64, 60, RankingRule.ABSOLUTE),
            ScoreRecord("cmd", 0.1 + rng.random(), n_pairs=64, direction=Direction.LOWER, flags=("few-clusters",)),
            ScoreRecord("auroc", None, reason="no known circuit"),
        ),
        curve=curve,
        components=rng.normal(size=10),
        discovery=DatasetRecord("d" * 64, "discovery", 32, 30, 40, 0.8),
        evaluation=DatasetRecord("e" * 64, "test", 64, 60, 64, None),
        replicates={"faithfulness_area": area + shift},
        pair_values={"full": rng.normal(size=64), "kept": rng.normal(size=(6, 64))},
        pair_clusters=tuple(f"{i // 2}+1" for i in range(64)),
        roc=(RocPoint("node", 0, 0.0, 0.5, 1.0, 0.5, 1), RocPoint("node", 1, 1.0, 1.0, 0.5, 1.0, 10)),
        costs={"wall_localize_s": 0.5, "wall_score_s": 0.25, "forward_equivalents": 12.0, "peak_host_bytes": 1e8},
    )
