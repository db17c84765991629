"""Interchange tests of an interchange-trained model: its variables, its silent sites, and its spare head."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import Questions
from arithloc.tasks.toy.interchange import output, replaced
from arithloc.tasks.toy.siit_recipe import Aligned, Held, Rows
from arithloc.tasks.toy.subject import Batch, Change, Tally
from arithloc.tasks.toy.swaps import SwapScore, same_states, same_values, shuffled


def held_tokens(batch: Batch, donor: Batch, held: Held, swapped: Rows) -> Int[ndarray, "batch digit"]:
    """Digit tokens when a variable's nodes take the donor's values in the swapped columns.

    Nodes keep the values of the unedited run elsewhere, which are theirs: the nodes of a variable do not read each
    other across positions.
    """
    form = batch.subject.form
    where = np.zeros(batch.ids.shape, dtype=bool)
    for column, cls in zip(held.columns, held.classes, strict=True):
        where[:, form.index(cls)] = swapped[:, column]
    at = np.isin(np.array(form.classes), held.classes)
    values = {
        node: np.where(where[..., None], output(donor.trace, node), output(batch.trace, node)) for node in held.nodes
    }
    return batch.tokens(replaced(values, dict.fromkeys(values, at)))[:, 1:]


def agreeing(held: Held, q: Questions, rng: np.random.Generator) -> Questions:
    """Questions with the same value of a variable in every column, and other digits."""
    return same_states(q, rng) if held.name == "C" else same_values(q, rng)


def swap_score(batches: Iterable[Batch], held: Held, rng: np.random.Generator, whole: bool) -> SwapScore:
    """Right answers when a variable is swapped, freely and with sources that agree on it.

    Args:
        batches: base questions.
        held: the variable.
        rng: for sources and columns.
        whole: swap in all columns, not in a random half of them.
    """
    score = SwapScore()
    for batch in batches:
        q, size = batch.questions, (len(batch.ids), batch.subject.form.n_digits + 1)
        swapped = np.ones(size, dtype=bool) if whole else rng.random(size) < 0.5
        source = shuffled(q, rng)
        tokens = held_tokens(batch, Batch.of(batch.subject, source), held, swapped)
        score.followed += int((tokens == held.target(q, source, swapped)[:, ::-1]).all(axis=1).sum())
        alike = Batch.of(batch.subject, agreeing(held, q, rng))
        score.kept += int((held_tokens(batch, alike, held, swapped) == batch.predicted[:, 1:]).all(axis=1).sum())
        score.total += len(q)
    return score


def silent_change(batch: Batch, program: Aligned, rng: np.random.Generator) -> Change:
    """What changes when all sites claimed to carry nothing are resampled together, each node from its own source."""
    at: dict[str, Bool[ndarray, " pos"]] = {node: program.silent(node) for node in program.nodes}
    values = {node: output(batch.trace, node)[rng.permutation(len(batch.ids))] for node in at}
    return batch.compare(replaced(values, at))


def silent_effect(batches: Iterable[Batch], program: Aligned, draws: int, rng: np.random.Generator) -> Tally:
    """Joint effect of all sites that are claimed to carry nothing."""
    total = Tally()
    for batch in batches:
        for _ in range(draws):
            total.add(silent_change(batch, program, rng))
    return total


@dataclass(frozen=True)
class Spare:
    """Effect of members of a redundant group at their means: each alone, and all of them."""

    alone: Tally
    together: Tally


def spare_effect(batches: Iterable[Batch], nodes: tuple[str, ...]) -> Spare:
    """Effect of means of a group's members; means are those of the first batch, at each position."""
    found = Spare(Tally(), Tally())
    means: dict[str, Float[ndarray, "pos width"]] = {}
    for batch in batches:
        own = {node: output(batch.trace, node) for node in nodes}
        means = means or {node: value.mean(axis=0) for node, value in own.items()}
        at = {node: np.broadcast_to(means[node], value.shape) for node, value in own.items()}
        for node in nodes:
            found.alone.add(batch.compare(replaced({node: at[node]})))
        found.together.add(batch.compare(replaced(at)))
    return found
