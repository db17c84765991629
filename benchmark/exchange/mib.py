"""Circuit files of MIB and EAP-IG: a graph of heads, MLPs and edges with scores, as JSON.

`{"cfg": {"n_layers", "n_heads", "d_model", "parallel_attn_mlp"}, "nodes": {"a0.h1": {"in_graph", "score"?}, ...},
"edges": {"input->a0.h1<q>": {"score", "in_graph"}, ...}}`. Node scores make it a node file, otherwise edge scores count,
and a file without any score is a set of edges: 1 inside, 0 outside. Their "neurons" are output dimensions of a node, not
hidden units of an MLP, and are refused.

Their graph has one key and one value per *query* head. Where query heads share them, the scores of the edges into one
shared key are added, as first-order effects of one place add; on the way out a score is divided evenly.

Format: github.com/hannamw/EAP-IG, `Graph.to_json`; used by the MIB circuit track (arXiv:2504.13151).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.errors import BadScores, UsageError, quoted
from arithloc.benchmark.api.scores import Scores
from arithloc.benchmark.api.shape import ModelShape
from arithloc.benchmark.api.vocabulary import Granularity

_READER = re.compile(r"(.+->a\d+\.h)(\d+)(<[kv]>)")
_ENDS = ("input", "logits")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Config(_Part):
    """Sizes of the model that the graph belongs to."""

    n_layers: int
    n_heads: int
    d_model: int
    parallel_attn_mlp: bool


class _Node(_Part):
    in_graph: bool = True
    score: float | None = None
    neurons: list[bool | int | float] | None = None


class _Edge(_Part):
    in_graph: bool = True
    score: float | None = None


class _Document(_Part):
    cfg: Config
    nodes: dict[str, _Node | bool]
    edges: dict[str, _Edge]


@dataclass(frozen=True)
class CircuitFile:
    """What a circuit file says.

    Attributes:
        name: file name.
        config: sizes of its model.
        granularity: `node` or `edge`.
        scores: by component, keys and values per query head.
    """

    name: str
    config: Config
    granularity: Granularity
    scores: Mapping[str, float]

    def native(self, space: ComponentSpace, *, partial: bool = False) -> dict[str, float]:
        """Scores by the names of a model's own components: one key and one value per group of query heads.

        Args:
            space: nodes or edges of the model.
            partial: whether a shared key or value of which the file scores only some query heads gets their sum; it
                has no score otherwise.

        Returns: also names that the model lacks, as they stand in the file.

        Raises:
            BadScores: another model.
        """
        shape = space.shape
        for field, expected in (
            ("n_layers", shape.n_layers),
            ("n_heads", shape.n_heads),
            ("d_model", shape.d_model),
            ("parallel_attn_mlp", shape.parallel),
        ):
            found = getattr(self.config, field)
            if found != expected:
                raise BadScores(
                    f"Expected the graph of a model with {field} {expected}, found {quoted(found)} in "
                    f"{quoted(self.name)}. Use the model that the file belongs to."
                )
        left, native = dict(self.scores), dict[str, float]()
        for name in space.names:
            parts = [left.pop(query_name, None) for query_name in _query_names(name, shape)]
            given = [part for part in parts if part is not None]
            if given and (partial or len(given) == len(parts)):
                native[name] = _sum(given)
        return native | left


def read_circuit(data: bytes, name: str) -> CircuitFile:
    """Reads a circuit file.

    Raises:
        UsageError: no JSON, another structure, a component twice, scores of "neurons", or scores that are not finite.
    """
    try:
        document = _Document.model_validate(json.loads(data, object_pairs_hook=_once))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3])
        raise UsageError(
            f"Expected MIB's circuit JSON in {quoted(name)}, found {error.error_count()} faults: {faults[:300]}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"Expected MIB's circuit JSON in {quoted(name)}: {str(error)[:200]}.") from None
    nodes = {key: node for key, node in document.nodes.items() if isinstance(node, _Node) and key not in _ENDS}
    if any(node.neurons is not None and not all(node.neurons) for node in nodes.values()):
        raise UsageError(
            f"{quoted(name)} selects output dimensions of nodes, which are no components here. "
            "Use a file with scores of nodes or edges."
        )
    by_node = _finite({key: node.score for key, node in nodes.items()}, name)
    if by_node:
        return CircuitFile(name, document.cfg, Granularity.NODE, by_node)
    by_edge = _finite({key: edge.score for key, edge in document.edges.items()}, name)
    if not by_edge:
        by_edge = {key: float(edge.in_graph) for key, edge in document.edges.items()}
    return CircuitFile(name, document.cfg, Granularity.EDGE, by_edge)


def circuit_document(scores: Scores) -> bytes:
    """A circuit file that MIB's code reads: the whole graph with the scores of its nodes or edges.

    Raises:
        UsageError: components that a circuit file has no name for.
    """
    space, shape = scores.space, scores.space.shape
    if space.granularity not in (Granularity.NODE, Granularity.EDGE) or space.classes:
        raise UsageError(
            f"MIB's circuit files hold nodes or edges without positions, found {space.granularity} scores. Write a CSV."
        )
    nodes: dict[str, dict[str, Any]] = {"input": {"in_graph": True}}
    node_space, edge_space = (ComponentSpace(kind, shape) for kind in (Granularity.NODE, Granularity.EDGE))
    nodes |= {name: {"in_graph": True} for name in node_space.names}
    if space.granularity is Granularity.NODE:
        for name, value in zip(space.names, scores.values, strict=True):
            nodes[name]["score"] = float(value)
    nodes["logits"] = {"in_graph": True}
    by_edge = scores.values.tolist() if space.granularity is Granularity.EDGE else [0.0] * len(edge_space)
    config = {
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "parallel_attn_mlp": shape.parallel,
        "d_model": shape.d_model,
    }
    edges = {
        query_name: {"score": value / len(query_names), "in_graph": True}
        for name, value in zip(edge_space.names, by_edge, strict=True)
        for query_names in (_query_names(name, shape),)
        for query_name in query_names
    }
    return json.dumps({"cfg": config, "nodes": nodes, "edges": edges}, allow_nan=False).encode()


def _query_names(name: str, shape: ModelShape) -> list[str]:
    """What a component is called with one key and one value per query head."""
    match = _READER.fullmatch(name)
    if match is None:
        return [name]
    members = shape.n_heads // shape.n_kv_heads
    first = int(match[2]) * members
    return [f"{match[1]}{head}{match[3]}" for head in range(first, first + members)]


def _sum(parts: list[float]) -> float:
    try:
        return math.fsum(parts)
    except OverflowError:  # refused with the component's name, like every other infinite score
        return math.inf


def _finite(scores: Mapping[str, float | None], name: str) -> dict[str, float]:
    """The components that have a score; NaN is how MIB writes that a node has none."""
    given = {key: score for key, score in scores.items() if score is not None and not math.isnan(score)}
    infinite = next((key for key, score in given.items() if math.isinf(score)), None)
    if infinite is not None:
        raise UsageError(f"Expected finite scores in {quoted(name)}, found {given[infinite]} for {quoted(infinite)}.")
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{quoted(key)} stands there twice")
        found[key] = value
    return found
