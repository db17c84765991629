"""Measures what an audit needs: effects of nodes, position classes and edges, joint effects, swaps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.forward import Edits
from arithloc.tasks.toy.interchange import ACTIVE_DLOGIT, constant, edge_edits, output, resampled
from arithloc.tasks.toy.labels import Edge
from arithloc.tasks.toy.subject import Batch, Tally
from arithloc.tasks.toy.swaps import SwapScore, Variable, swap


@dataclass(frozen=True)
class Effects:
    """One node's effect under three replacements.

    Attributes:
        resample: value on other questions.
        mean: mean at each position.
        zero: zero.
    """

    resample: Tally = field(default_factory=Tally)
    mean: Tally = field(default_factory=Tally)
    zero: Tally = field(default_factory=Tally)


def active(tally: Tally) -> bool:
    """Whether something matters: an answer flips, or a logit moves far."""
    return tally.flipped > 0 or tally.dlogit > ACTIVE_DLOGIT


def node_effects(batches: Iterable[Batch], draws: int, rng: np.random.Generator, cross: int = 8) -> dict[str, Effects]:
    """Effect of each node alone.

    Args:
        batches: base questions.
        draws: source permutations per batch.
        rng: for the sources.
        cross: batches on which mean and zero replacement are measured as well.
    """
    found: dict[str, Effects] = {}
    means: dict[str, Float[ndarray, "pos width"]] = {}
    for number, batch in enumerate(batches):
        for node in batch.subject.nodes:
            effects = found.setdefault(node, Effects())
            for _ in range(draws):
                effects.resample.add(batch.compare(resampled(batch, [node], rng.permutation(len(batch.ids)))))
            if number < cross:
                mean = means.setdefault(node, output(batch.trace, node).mean(axis=0))
                effects.mean.add(batch.compare(constant(batch, node, mean)))
                effects.zero.add(batch.compare(constant(batch, node, None)))
    return found


def class_effects(batches: Iterable[Batch], rng: np.random.Generator) -> dict[str, dict[str, Tally]]:
    """Effect of each node at each position class alone, under resampling."""
    found: dict[str, dict[str, Tally]] = {}
    for batch in batches:
        classes = batch.subject.form.classes
        for node in batch.subject.nodes:
            row = found.setdefault(node, {c: Tally() for c in classes})
            for index, cls in enumerate(classes):
                at = np.arange(len(classes)) == index
                row[cls].add(batch.compare(resampled(batch, [node], rng.permutation(len(batch.ids)), at)))
    return found


def edge_effects(batches: Iterable[Batch], edges: Sequence[Edge], rng: np.random.Generator) -> dict[Edge, Tally]:
    """Effect of each edge alone, under resampling of what it carries."""
    found = {edge: Tally() for edge in edges}
    for batch in batches if edges else ():
        for edge in edges:
            found[edge].add(batch.compare(edge_edits(batch, [edge], rng.permutation(len(batch.ids)))))
    return found


def joint_effect(
    batches: Iterable[Batch], sets: Sequence[Sequence[str]], draws: int, rng: np.random.Generator
) -> Tally:
    """Effect of whole sets of nodes, each node with a source of its own."""
    total = Tally()
    for batch in batches:
        for nodes in sets:
            for _ in range(draws):
                sources = {node: rng.permutation(len(batch.ids)) for node in nodes}
                total.add(batch.compare(resampled(batch, nodes, sources)))
    return total


def together(batches: Iterable[Batch], nodes: Sequence[str], rng: np.random.Generator) -> Tally:
    """Effect of a set of nodes that all take their values from the same source."""
    total = Tally()
    for batch in batches:
        total.add(batch.compare(resampled(batch, nodes, rng.permutation(len(batch.ids)))))
    return total


def joint_edges(batches: Iterable[Batch], edges: Sequence[Edge], rng: np.random.Generator) -> Tally:
    """Effect of several edges that all carry what their senders write on the same source."""
    total = Tally()
    for batch in batches:
        edits: Edits = edge_edits(batch, edges, rng.permutation(len(batch.ids)))
        total.add(batch.compare(edits))
    return total


def swap_scores(
    batches: Iterable[Batch], variables: Sequence[Variable], ids: Mapping[str, str], rng: np.random.Generator
) -> dict[str, SwapScore]:
    """Interchange accuracy of each variable.

    Args:
        batches: base questions.
        variables: what is swapped.
        ids: component of each role.
        rng: for the sources.
    """
    found = {variable.name: SwapScore() for variable in variables}
    for batch in batches:
        for variable in variables:
            swap(batch, variable, [ids[role] for role in variable.roles], rng, found[variable.name])
    return found
