"""What the runner hands to storage: one cell's specification and its outcome, as plain frozen values.

Fields that are not part of a cell's key (`keys.key_text`) are for display and provenance only.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api import Ablation, Granularity


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    """Localized and scored."""
    FAILED = "failed"
    """An exception, a breach of contract, or a question that has no answer on this model (see `error_type`)."""
    TIMEOUT = "timeout"
    """Past its wall-clock limit."""
    KILLED = "killed"
    """Its process ended without a result."""


class Direction(StrEnum):
    """Which way a score is better."""

    HIGHER = "higher"
    """Larger is better."""
    LOWER = "lower"
    """Smaller is better."""


class RankingRule(StrEnum):
    """How components were ordered to build the circuits behind a score."""

    ABSOLUTE = "absolute"
    """Descending absolute score."""
    SIGNED = "signed"
    """Descending signed score."""
    NONE = "none"
    """The score needs no ranking."""


@dataclass(frozen=True)
class MethodRecord:
    """Identity of a method with its options: one entry of the leaderboard."""

    name: str
    version: str
    distribution: str
    source_hash: str
    options: dict[str, Any]
    granularities: tuple[str, ...]
    access: str
    summary: str
    reference: str
    sanity: bool = False
    """A reference row (random, oracle): shown, marked, never ranked."""
    title: str = ""
    """Name on the leaderboard; the name and all options where empty."""


@dataclass(frozen=True)
class TaskRecord:
    """Identity of a task with its options."""

    name: str
    version: str
    distribution: str
    source_hash: str
    options: dict[str, Any]
    family: str
    control_for: str
    summary: str


@dataclass(frozen=True)
class ModelRecord:
    """Identity of a subject model."""

    name: str
    revision: str
    """40 hex digits of the hub revision, or the content hash of a local folder."""
    weights_hash: str
    config_hash: str
    tokenizer_hash: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_mlp: int
    n_params: int
    n_edges: int
    is_toy: bool


@dataclass(frozen=True)
class DatasetRecord:
    """One split of a task for one tokenizer."""

    data_hash: str
    split: str
    n_pairs: int
    n_clusters: int
    requested: int
    kept_fraction: float | None
    """Share of drawn pairs that the model answers correctly, None where that was not asked."""


@dataclass(frozen=True)
class CellSpec:
    """Everything that determines a cell's result: the content of its key.

    `discovery_kind` is the counterfactual kind of the discovery pairs, empty where it is that of the test pairs, which is
    an option of the task. `private_commitment` is the SHA-256 of the secret seed that the test pairs were drawn with, empty
    for public pairs.
    """

    method: MethodRecord
    task: TaskRecord
    model: ModelRecord
    discovery_hash: str
    evaluation_hash: str
    granularity: Granularity
    positions: tuple[str, ...]
    ablation: Ablation
    metric: str
    seed: int
    dtype: str
    attention: str
    n_discovery: int
    n_evaluation: int
    n_draws: int
    n_sizes: int
    engine_version: int
    scoring_version: int
    discovery_kind: str = ""
    private_commitment: str = ""


@dataclass(frozen=True)
class ScoreRecord:
    """One number with its 95% interval. `value` None means not defined, and `reason` says why."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    n_pairs: int = 0
    n_clusters: int = 0
    ranking_rule: RankingRule = RankingRule.NONE
    direction: Direction = Direction.HIGHER
    unit: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """One circuit of a curve."""

    curve: str
    """`kept`, `removed` or `budget` (the ten budgets of MIB)."""
    ranking_rule: RankingRule
    i: int
    n_components: int
    size: float
    nominal: float | None
    m: float
    f: float | None
    f_low: float | None = None
    f_high: float | None = None
    b: float | None = None
    """Mean bounded recovery per pair."""
    f_ror: float | None = None
    """Mean of per-pair ratios."""
    accuracy: float | None = None
    kl: float | None = None
    f_accuracy: float | None = None
    """Faithfulness with accuracy as the metric."""
    f_kl: float | None = None
    """Faithfulness with KL divergence as the metric."""


@dataclass(frozen=True)
class RocPoint:
    """One threshold of the scores against a known circuit."""

    kind: str
    """`node`, `neuron` or `edge`."""
    i: int
    fpr: float
    tpr: float
    precision: float | None
    recall: float | None
    n: int
    """Components at or above the threshold."""


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a finished cell measured.

    Attributes:
        scores: every number of the result table.
        curve: every circuit that was evaluated.
        components: the method's scores, in the order of the space.
        replicates: bootstrap replicates of the ranked scores, by score name.
        pair_values: per-pair values by name (`full`, `empty`, `kept`, `removed`, ...), pairs on the last axis.
        pair_clusters: cluster of each evaluation pair.
        roc: thresholds against the known circuit, for toys.
        discovery, evaluation: the data it was measured on.
        costs: `wall_localize_s`, `wall_score_s`, `forward_equivalents`, `peak_host_bytes`, `peak_device_bytes`.
    """

    scores: tuple[ScoreRecord, ...]
    curve: tuple[CurvePoint, ...]
    components: Float[ndarray, " comp"]
    discovery: DatasetRecord
    evaluation: DatasetRecord
    replicates: dict[str, Float[ndarray, " rep"]] = field(default_factory=dict)
    pair_values: dict[str, Float[ndarray, "..."]] = field(default_factory=dict)
    pair_clusters: tuple[str, ...] = ()
    roc: tuple[RocPoint, ...] = ()
    costs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """Circumstances of one try at a cell."""

    status: Status
    started_at: str
    finished_at: str
    device: str
    executor: str
    error_type: str = ""
    error_message: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class Environment:
    """Where results were computed; no host or user names."""

    python: str
    os: str
    cpu: str
    gpu: str
    packages: dict[str, str]
    code_version: str
    code_commit: str
    code_dirty: bool
    determinism: dict[str, Any]
