"""The analysis contract: any class with `info` and `run(study) -> Report`."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from arithloc.benchmark.api.report import Report
from arithloc.benchmark.api.study import Study


@dataclass(frozen=True)
class AnalysisInfo:
    """What an analysis says about itself.

    Attributes:
        name: kebab-case public name.
        summary: one sentence.
        reference: source of its claims, as `arXiv:2305.15054`.
        task: task reference that is analysed where none is given.
    """

    name: str
    summary: str
    reference: str
    task: str


@runtime_checkable
class Analysis(Protocol):
    """An analysis whose result is more than one score per component. Its dataclass fields, if any, are its options."""

    info: AnalysisInfo

    def run(self, study: Study) -> Report:
        """Analyses one model."""
        ...
