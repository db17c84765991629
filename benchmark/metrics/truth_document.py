"""The truth document of a toy model: which components its circuit has, and how that was proven.

Component ids are those of component spaces. Unknown keys are an error and numbers are finite. Labels of nodes: `in` the
circuit, `out` of it, `undecided` (cancelling parts, or parts whose role another one can take). Edges that are not listed
are `out`; `static` edges carry a value that never varies.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from arithloc.benchmark.api.edges import total_weight
from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.api.shape import ModelShape

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
NodeLabel = Literal["in", "out", "undecided"]
Slot = Literal["q", "k", "v"]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True, protected_namespaces=()
    )


class Generator(_Part):
    """Everything needed to rebuild the model."""

    name: Literal["compiled", "siit", "natural"]
    version: int
    recipe: dict[str, Any]
    recipe_sha256: Hex64


class Model(_Part):
    """The model itself; weights that are rebuilt have no hash."""

    architecture: str
    config: dict[str, Any]
    parameters: int
    weights_sha256: Hex64 | None
    dtype_min: Literal["float32"]


class Position(_Part):
    """Class of one input position."""

    index: int
    position_class: str = Field(alias="class")


class Format(_Part):
    """How questions are written."""

    n_digits: int
    operators: Literal["+", "-", "+-"]
    bos: bool
    vocab: tuple[str, ...]
    positions: tuple[Position, ...]


class Distribution(_Part):
    """Which questions the truth holds for."""

    id: str
    kind: str
    operand_min: int
    operand_max: int
    operator_weights: dict[str, float]
    excluded: tuple[tuple[int, str, int], ...]


class Change(_Part):
    """Effect of an ablation: share of changed answers and largest change of a logit."""

    flip: float
    dlogit: float


class Behaviour(_Part):
    """How often the model answers right."""

    mode: Literal["exhaustive", "sampled"]
    questions: int
    wrong: int
    min_margin: float
    free_running_wrong: int


class Variable(_Part):
    """A variable of the high-level program and the sites that hold it."""

    name: str
    definition: str
    values: tuple[int | str, ...]
    sites: tuple[str, ...]
    iia: float


class Effects(_Part):
    """Effect of one node under three ablations."""

    resample: Change
    mean: Change
    zero: Change


class Node(_Part):
    """Truth about a head or an MLP."""

    id: str
    layer: int
    kind: Literal["head", "mlp"]
    head: int | None
    role: str | None
    label: NodeLabel
    group: str | None
    quorum: int | None
    classes: dict[str, NodeLabel]
    effect: Effects


class Neuron(_Part):
    """Truth about a hidden unit."""

    id: str
    role: str | None
    label: NodeLabel


class Edge(_Part):
    """Truth about an edge that is not `out`."""

    sender: str
    receiver: str
    slot: Slot | None
    label: Literal["in", "static", "undecided"]
    group: str | None
    quorum: int | None
    flip: float
    dlogit: float

    @property
    def name(self) -> str:
        """Name of the edge in the edge space."""
        return f"{self.sender}->{self.receiver}" + (f"<{self.slot}>" if self.slot else "")


class EdgesOut(_Part):
    """All edges that are `out`, together."""

    count: int
    max_flip: float
    max_dlogit: float


class Group(_Part):
    """Components of which `quorum` suffice."""

    name: str
    members: tuple[str, ...]
    quorum: int
    meaning: Literal["majority", "backup", "cancel"]


class Certificate(_Part):
    """Outcome of one check of the proof."""

    check: Annotated[int, Field(ge=1, le=9)]
    name: str
    passed: bool
    n: int
    seed: int | None
    value: float | None
    bound: float | None
    dtype: str
    seconds: float


class Control(_Part):
    """A wrong claim that the proof must reject."""

    name: str
    expected: str
    value: float
    passed: bool


class Provenance(_Part):
    """What made the document."""

    created: str
    code_version: str
    commit: str
    packages: dict[str, str]


class TruthDocument(_Part):
    """Everything known about the circuit of one toy model."""

    schema_version: Literal[1] = Field(alias="schema")
    id: str
    tier: Literal["A", "B", "C"]
    stressors: tuple[str, ...]
    generator: Generator
    model: Model | None
    format: Format
    distribution: Distribution
    ablation: Literal["counterfactual"]
    tolerance: Change
    behaviour: Behaviour
    variables: tuple[Variable, ...]
    nodes: tuple[Node, ...]
    neurons: tuple[Neuron, ...] | None
    edges: tuple[Edge, ...]
    edges_out: EdgesOut
    groups: tuple[Group, ...]
    certificates: tuple[Certificate, ...]
    controls: tuple[Control, ...]
    provenance: Provenance

    @model_validator(mode="after")
    def _complete(self) -> "TruthDocument":
        layers, heads = _grid(self.nodes)
        expected = {f"m{i}" for i in range(layers)} | {f"a{i}.h{h}" for i in range(layers) for h in range(heads)}
        counts = Counter(node.id for node in self.nodes)
        if set(counts) != expected or max(counts.values(), default=0) > 1:
            raise ValueError(f"nodes: expected every head and MLP once, found {_different(expected, counts)} otherwise")
        shape = ModelShape(layers, heads, heads, d_model=1, d_head=1, d_mlp=1, vocab=1)
        listed = self.edges_out.count + len(self.edges)
        if listed != total_weight(shape):
            raise ValueError(f"edges: expected {total_weight(shape)} listed and out together, found {listed}")
        if len({edge.name for edge in self.edges}) != len(self.edges):
            raise ValueError("edges: expected each edge once, found one twice")
        groups = {group.name for group in self.groups}
        used = {node.group for node in self.nodes} | {edge.group for edge in self.edges}
        used.discard(None)
        if len(groups) != len(self.groups) or not used <= groups:
            raise ValueError(
                f"groups: expected every group named once, found {sorted(map(str, used - groups))} undefined"
            )
        return self


def read_truth_document(document: Mapping[str, Any]) -> TruthDocument:
    """Checks a truth document.

    Args:
        document: JSON values.

    Raises:
        MetricError: it does not follow the schema; the first faults are named.
    """
    try:
        return TruthDocument.model_validate_json(json.dumps(document, allow_nan=False))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3]]
        raise MetricError(
            f"Expected a truth document of schema 1, found {error.error_count()} faults: {'; '.join(faults)}. "
            "Regenerate the document."
        ) from error
    except ValueError as error:
        raise MetricError(f"Expected finite numbers in a truth document, found {error}. Regenerate it.") from error


def _grid(nodes: Iterable[Node]) -> tuple[int, int]:
    layers = heads = 0
    for node in nodes:
        layers = max(layers, node.layer + 1)
        heads = max(heads, 0 if node.head is None else node.head + 1)
    return layers, heads


def _different(expected: set[str], counts: Counter[str]) -> str:
    different = sorted(expected ^ set(counts)) + sorted(name for name, n in counts.items() if n > 1)
    return ", ".join(different[:5])
