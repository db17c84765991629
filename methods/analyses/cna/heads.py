"""Which heads matter: each is ablated alone, on the pairs on which the root head is then chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, Progress, PromptPair
from arithloc.benchmark.api.report import Heatmap, Section, Table
from arithloc.benchmark.engine import Intervention, Site, SiteKind
from arithloc.benchmark.metrics.measured import draws_of, means_of
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class HeadScan:
    """What is lost without each head.

    Attributes:
        accuracy: 1 where a pair answered right is answered wrong without the head, -1 the other way round.
        logprob: fall of log p(answer), nats.
    """

    accuracy: Float[ndarray, "layer head pair"]
    logprob: Float[ndarray, "layer head pair"]

    @property
    def ranked(self) -> list[tuple[int, int]]:
        """Heads from the one whose loss costs most log p(answer) to the one whose costs least."""
        order = np.argsort(-self.logprob.mean(-1), axis=None, kind="stable")
        return [(int(i) // self.logprob.shape[1], int(i) % self.logprob.shape[1]) for i in order]


def scan(model: SubjectModel, pairs: Sequence[PromptPair], ablation: Ablation, progress: Progress) -> HeadScan:
    """Ablates each head alone, at all positions of the query."""
    shape = model.shape
    sites = [Site(SiteKind.HEAD, layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    without = engine.sweep(model, pairs, sites, run="clean", donor=ablation, reference=pairs, progress=progress)
    clean = engine.read(model, pairs)
    grid = (shape.n_layers, shape.n_heads, len(pairs))
    return HeadScan(
        (clean.metric("accuracy") - without.metric("accuracy")).reshape(grid),
        (clean.logprob_answer - without.logprob_answer).reshape(grid),
    )


def ablated(head: tuple[int, int], ablation: Ablation) -> Intervention:
    """The intervention that takes a head out."""
    return Intervention(Site(SiteKind.HEAD, *head), ablation)


def head_name(head: tuple[int, int]) -> str:
    """As in component names, `a3.h5`."""
    return f"a{head[0]}.h{head[1]}"


def head_section(found: HeadScan, pairs: Sequence[PromptPair], top: int = 10) -> Section:
    """Map of all heads and a table of the first ones."""
    layers, heads, _ = found.logprob.shape
    labels = tuple(map(str, range(layers))), tuple(map(str, range(heads)))
    maps = tuple(
        Heatmap(f"heads_{name}", title, *labels, values.mean(-1), column_title="Head")
        for name, title, values in (
            ("logprob", "Fall of log p(answer) without each head, nats", found.logprob),
            ("accuracy", "Fall of accuracy without each head", found.accuracy),
        )
    )
    first = found.ranked[:top]
    draws = draws_of(pairs)
    falls = means_of(np.stack([found.logprob[head] for head in first]), draws)
    drops = means_of(np.stack([found.accuracy[head] for head in first]), draws)
    rows = tuple(
        (head_name(head), drop.value, drop.low, drop.high, fall.value, fall.low, fall.high)
        for head, drop, fall in zip(first, drops, falls, strict=True)
    )
    columns = ("head", "accuracy", "accuracy_low", "accuracy_high", "logprob", "logprob_low", "logprob_high")
    table = Table(
        "heads_first", "Heads whose loss costs most log p(answer)", columns, rows, "Falls with 95 % intervals."
    )
    text = (
        "Each head is ablated alone at all positions of the query. The discovery pairs are used; the first head is the "
        "root head of everything that follows, which is measured on the test pairs."
    )
    return Section("Head scan", text, maps, (table,))
