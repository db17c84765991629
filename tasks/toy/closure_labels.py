"""Three labels for the sites of a natural model, from its closure and from measured effects."""

from dataclasses import dataclass

import numpy as np

from arithloc.tasks.toy.closure import Closure, Site, all_sites, audit_questions, fresh_draws, wrong
from arithloc.tasks.toy.subject import Subject

NEEDED = 0.001
"""Smallest share of answers that an `in` site must flip alone, in every draw."""

DRAWS = 3


@dataclass(frozen=True)
class SiteLabels:
    """Labels of all sites.

    Attributes:
        labels: `in`, `out` or `undecided` by site.
        agreement: Jaccard index of the `in` sets of two searches.
        effect: smallest and largest e(v) over the draws.
        size: sites of the closure.
    """

    labels: dict[Site, str]
    agreement: float
    effect: dict[Site, tuple[float, float]]
    size: int


def three_draws(subject: Subject, count: int, rng: np.random.Generator) -> dict[Site, tuple[float, float]]:
    """Smallest and largest e(v) of every site over three draws of `count` pairs."""
    draws = []
    sites = all_sites(subject)
    for _ in range(DRAWS):
        flipped = dict.fromkeys(sites, 0)
        for base, order in fresh_draws(subject, audit_questions(subject, count, rng), 1, rng):
            for site in sites:
                flipped[site] += int(wrong(base, base, [site], order).sum())
        draws.append(flipped)
    return {site: (min(d[site] for d in draws) / count, max(d[site] for d in draws) / count) for site in sites}


def label_sites(first: Closure, second: Closure, effect: dict[Site, tuple[float, float]]) -> SiteLabels:
    """Labels sites.

    `in`: in both closures, and alone necessary in every draw. `out`: in neither, and alone without any effect in every
    draw and in both audit sets. `undecided`: the rest (redundant, backup, rare, or different between the searches).
    """
    labels = {}
    needed = [{s for s in c.keep if effect[s][0] >= NEEDED} for c in (first, second)]
    for site, (_, high) in effect.items():
        silent = high == 0 and first.effect[site] == 0 and second.effect[site] == 0
        if all(site in chosen for chosen in needed):
            labels[site] = "in"
        elif site not in first.keep | second.keep and silent:
            labels[site] = "out"
        else:
            labels[site] = "undecided"
    union = needed[0] | needed[1]
    agreement = len(needed[0] & needed[1]) / len(union) if union else 1.0
    return SiteLabels(labels, agreement, effect, len(first.keep))


def node_label(labels: dict[str, str]) -> str:
    """Label of a node from those of its classes: `in` if it is anywhere, `out` if it is nowhere."""
    found = set(labels.values())
    return "in" if "in" in found else "out" if found == {"out"} else "undecided"
