"""From a truth document to labels of a component space, and from scores to agreement with them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.ground_truth import (
    NULL_VECTORS,
    ap_above_chance,
    auroc,
    average_precision,
    top_share,
)
from arithloc.benchmark.metrics.truth_document import Edge, TruthDocument


@dataclass(frozen=True, eq=False)
class Quorum:
    """Members of which some suffice: the `needed` highest-scored ones are positives, the others are left out.

    Attributes:
        members: components of each member: a node, or all its edges; scored by their mean.
        needed: how many members the circuit needs.
    """

    members: tuple[Int[ndarray, "..."], ...]
    needed: int


@dataclass(frozen=True, eq=False)
class Truth:
    """Truth about the components of a space.

    Attributes:
        positive: in the circuit.
        universe: counted at all; members of a quorum are.
        quorums: groups among the positives.
        roles: what a component computes, None for most; by position in the space.
    """

    positive: Bool[ndarray, " comp"]
    universe: Bool[ndarray, " comp"]
    quorums: tuple[Quorum, ...]
    roles: dict[int, str]


def truth_of(document: TruthDocument, space: ComponentSpace) -> Truth | None:
    """Labels of a space, or None where the document does not tell some of its components from others.

    It may say nothing about this kind of space, or call no component `in`, or none `out`: in a trained model each head
    and MLP may matter at one position or another. Nodes are labelled with and without position classes, edges and hidden units without, blocks not at all.

    Raises:
        MetricError: the document is about a model of another shape.
    """
    match space.granularity:
        case Granularity.NODE:
            labels = _node_labels(document, space.classes)
            groups = {node.id: (node.group, node.id) for node in document.nodes}
            roles = {node.id: node.role for node in document.nodes}
            default = None
        case Granularity.EDGE if not space.classes:
            labels = {edge.name: edge.label for edge in document.edges}
            groups = {edge.name: (edge.group, _member(document, edge)) for edge in document.edges}
            roles, default = {}, "out"
        case Granularity.NEURON if not space.classes and document.neurons is not None:
            labels = {unit.id: unit.label for unit in document.neurons}
            groups, default = {}, "out"
            roles = {unit.id: unit.role for unit in document.neurons}
        case _:
            return None
    names = space.names
    unknown = set(labels) - set(names)
    found = [labels.get(name, default) for name in names]
    if unknown or None in found:
        raise MetricError(
            f"Expected the truth {document.id!r} to name the components of this model, found "
            f"{len(unknown)} that it does not have and {found.count(None)} unnamed. Use the model that it belongs to."
        )
    label = np.array(found)
    positive = label == "in"
    if not positive.any() or not (label == "out").any():
        return None
    base = [name.partition("@") for name in names]
    return Truth(
        positive=positive,
        universe=positive | (label == "out"),
        quorums=_quorums(document, [(*groups.get(node, (None, "")), cls) for node, _, cls in base], positive),
        roles={i: role for i, (node, _, _) in enumerate(base) if positive[i] and (role := roles.get(node))},
    )


def _node_labels(document: TruthDocument, classes: tuple[str, ...]) -> dict[str, str]:
    if not classes:
        return {node.id: node.label for node in document.nodes}
    return {f"{node.id}@{cls}": node.classes[cls] for node in document.nodes for cls in classes if cls in node.classes}


def _member(document: TruthDocument, edge: Edge) -> str:
    """The member of its group that an edge belongs to: the one that it leaves or enters."""
    members = {member for group in document.groups if group.name == edge.group for member in group.members}
    return next((end for end in (edge.sender, edge.receiver) if end in members), edge.name)


def _quorums(
    document: TruthDocument, places: list[tuple[str | None, str, str]], positive: Bool[ndarray, " comp"]
) -> tuple[Quorum, ...]:
    """One quorum per group and position class; `places` holds group, member and class of each component."""
    needed = {group.name: group.quorum for group in document.groups if group.meaning != "cancel"}
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for i, (group, member, cls) in enumerate(places):
        if group in needed and positive[i]:
            found.setdefault((str(group), cls), {}).setdefault(member, []).append(i)
    return tuple(
        Quorum(tuple(np.array(components) for components in members.values()), needed[group])
        for (group, _), members in found.items()
        if len(members) > needed[group]
    )


def truth_estimates(values: Float[ndarray, " comp"], truth: Truth, seed: int) -> tuple[Estimate, ...]:
    """Agreement of scores with the truth: AUROC, AP, precision at the true size, recall by role, null band of AUROC.

    There is no interval: components of one circuit are not independent. `auroc_null` holds mean and 95% band of random
    scores, `auroc_p` the share of them that are at least as good.

    Args:
        values: one signed score per component; ranked by absolute score.
        truth: labels of the space.
        seed: seed of the random score vectors.

    Raises:
        MetricError: no positive or no negative component.
    """
    view = _view(np.abs(values), truth)
    signed = _view(values, truth)
    observed = auroc(view.scores, view.positive)
    rng = np.random.default_rng(seed)
    null = np.array([_auroc(rng.random(len(values)), truth) for _ in range(NULL_VECTORS)])
    low, high = np.quantile(null, [0.025, 0.975])
    precision = average_precision(view.scores, view.positive)
    k = int(view.positive.sum())
    roles = np.array([truth.roles.get(int(i), "") for i in view.components])
    return (
        Estimate("auroc", observed, ranking_rule="absolute"),
        Estimate("auroc_signed", auroc(signed.scores, signed.positive), ranking_rule="signed"),
        Estimate("auroc_null", float(null.mean()), low=float(low), high=float(high)),
        Estimate("auroc_p", float((1 + (null >= observed).sum()) / (NULL_VECTORS + 1)), direction="lower"),
        Estimate("average_precision", precision, ranking_rule="absolute"),
        Estimate("ap_norm", ap_above_chance(precision, view.positive), ranking_rule="absolute"),
        Estimate("precision_at_true_size", top_share(view.scores, view.positive, k), ranking_rule="absolute"),
        *(
            Estimate(f"recall_{role}", top_share(view.scores, roles == role, k), ranking_rule="absolute")
            for role in sorted(set(roles[view.positive]) - {""})
        ),
    )


@dataclass(frozen=True, eq=False)
class _View:
    """The counted components of one score vector."""

    scores: Float[ndarray, " counted"]
    positive: Bool[ndarray, " counted"]
    components: Int[ndarray, " counted"]


def _view(scores: Float[ndarray, " comp"], truth: Truth) -> _View:
    counted = truth.universe.copy()
    for quorum in truth.quorums:
        means = np.array([-scores[components].mean() for components in quorum.members])
        for surplus in np.argsort(means, kind="stable")[quorum.needed :]:
            counted[quorum.members[surplus]] = False
    return _View(scores[counted], truth.positive[counted], np.flatnonzero(counted))


def _auroc(scores: Float[ndarray, " comp"], truth: Truth) -> float:
    view = _view(scores, truth)
    return auroc(view.scores, view.positive)
