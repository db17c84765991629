"""Token mixing level by level (C5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from arithloc.benchmark.api import Split
from arithloc.benchmark.api.report import Claim, Curves, Section, Series, Table
from arithloc.benchmark.api.study import Sample, Study
from arithloc.benchmark.metrics.measured import Spread, draws_of
from arithloc.methods.analyses.cot.claims import above, below, untested
from arithloc.methods.analyses.cot.mixing import HIDDEN, Examples, confusion, control_labels, examples, macro_f1, probe
from arithloc.methods.analyses.cot.subtasks import step_names, with_step
from arithloc.methods.analyses.statistics import derived

PROBES = {"linear": (), "MLP": HIDDEN}
ENOUGH = 8
"""Prompts that each part needs."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """Probes of all levels.

    Attributes:
        f1: macro F1 of each probe at every level, by name; `... control` with permuted labels.
        train, test: the word pairs of both parts; None where there are too few prompts.
        samples: the prompts.
        reason: why there are no probes, or empty.
    """

    f1: Mapping[str, Spread]
    train: Examples | None
    test: Examples | None
    samples: tuple[Sample, ...]
    reason: str = ""

    def selectivity(self, name: str) -> Spread:
        """F1 minus that of the control task."""
        return self.f1[name] - self.f1[f"{name} control"]

    def claims(self) -> Iterator[Claim]:
        """C5, with the linear probe."""
        if self.reason:
            yield from untested(("C5.1", "C5.2"), self.reason)
            return
        found = self.selectivity("linear")
        statistic = "selectivity of a linear probe (macro F1 minus that with permuted labels), mean over levels"
        yield above("C5.1", statistic, 0.0, derived(found, np.mean))
        depth = derived(found, lambda levels: float(levels.argmax()) / (len(levels) - 1))
        yield below("C5.2", "relative depth of the level with the largest selectivity of a linear probe", 0.5, depth)

    def sections(self) -> Iterator[Section]:
        """Curves over levels."""
        if self.reason or self.train is None or self.test is None:
            yield Section("Token mixing", self.reason)
            return
        levels = [float(level) for level in range(len(self.f1["linear"].value))]
        pictures = (
            Curves("probe_f1", "Macro F1 of the probes", "Level", "F1", tuple(Series.of(name, levels, one.each()) for name, one in self.f1.items())),
            Curves("selectivity", "Selectivity", "Level", "F1 minus control", tuple(Series.of(name, levels, self.selectivity(name).each()) for name in PROBES)),
        )  # fmt: skip
        rows = []
        for part, found in (("discovery", self.train), ("test", self.test)):
            for joined in (True, False):
                of = found.joined == joined
                rows.append(
                    (part, "joined" if joined else "not joined", int(of.sum()), float(found.distance[of].mean()))
                )
        table = Table("word_pairs", "Word pairs", ("part", "class", "word_pairs", "mean_distance"), tuple(rows))
        text = (
            "A probe sees the residual streams of two words of the question, objects of two different statements, and says whether a "
            "statement joins them. Word pairs that none joins have the same roles; their second word belongs to the other chain. "
            "Trained on the discovery pairs, asked about the test pairs, whose words are others. Level 0 is the embedding."
        )
        yield Section("Token mixing", text, pictures, (table,))


def measure_mixing(study: Study, n_pairs: int, shots: int) -> Mixing:
    """Draws prompts, trains the probes of all levels and asks them.

    Args:
        study: the model.
        n_pairs: prompts of each part.
        shots: exemplars in them.
    """
    hops = int(dict(study.task.options).get("hops", "2"))
    # in the paper's order the statements of a chain stand together, so that distance alone would tell who is joined
    reference = with_step(study.task, step_names(hops)[0]).with_options({"shots": str(shots), "order": "shuffled"})
    samples = tuple(study.sample(reference, split, n_pairs) for split in (Split.DISCOVERY, Split.TEST))
    few = next((sample for sample in samples if len(sample.pairs) < ENOUGH), None)
    if few is not None:
        reason = (
            few.refused or f"Only {len(few.pairs)} of {few.drawn} prompts are answered, of which the words are read."
        )
        return Mixing({}, None, None, samples, reason)
    train, test = (examples(study.model, sample.pairs) for sample in samples)
    draws = draws_of(samples[1].pairs)
    rng = np.random.default_rng(study.seed)
    labels = {"": (train.joined, test.joined), " control": (control_labels(train, rng), control_labels(test, rng))}
    found = {}
    progress = study.phase("probes")
    for done, (name, hidden) in enumerate(PROBES.items(), start=1):
        for kind, (known, asked) in labels.items():
            counts = []
            for x, y in zip(train.levels, test.levels, strict=True):
                generator = torch.Generator().manual_seed(study.seed)
                said = probe(x, known, y, hidden=hidden, generator=generator)
                counts.append(confusion(asked, said, test.prompt, len(samples[1].pairs)))
            rows = np.stack(counts)
            found[name + kind] = Spread(macro_f1(rows.sum(-1)), macro_f1(draws.sums(rows)), draws.n_clusters)
        progress(done, len(PROBES))
    return Mixing(found, train, test, samples)
