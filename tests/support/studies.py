"""Studies of tiny models, for analyses that need no real task."""

from collections.abc import Callable, Sequence

from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.study import Sample, Study
from arithloc.benchmark.models import SubjectModel

Pairs = Callable[[Reference, Split], Sequence[PromptPair] | str]
"""Pairs of a task, or why there are none."""


def study(model: SubjectModel, task: str, pairs: Pairs, *, limit: int = 8, seed: int = 0) -> Study:
    """A study that gives made-up pairs, all of which count as answered."""

    def sample(reference: str | Reference, split: Split, n: int) -> Sample:
        asked = Reference.parse(reference) if isinstance(reference, str) else reference
        found = pairs(asked, split)
        if isinstance(found, str):
            return Sample(str(asked), (), 0, 0, None, found)
        return Sample(str(asked), tuple(found), len(found), len({pair.cluster for pair in found}), 1.0)

    return Study(model, Reference.parse(task), limit, seed, sample, lambda _: no_progress)
