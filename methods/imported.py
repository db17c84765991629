"""Scores that were computed elsewhere: a file of any method's output, measured like every other method."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.exchange.score_files import Missing, read_score_file, scores_of


@dataclass(frozen=True)
class Imported:
    """Component scores from a CSV, Parquet or MIB circuit file.

    Attributes:
        file: path of the file; its name alone is recorded.
        sha256: SHA-256 of its content; found out where empty, else checked.
        label: name on the leaderboard; the file's name where empty.
        missing: components that the file does not name: `refuse` them, or score them `zero`.
    """

    file: str = ""
    sha256: str = ""
    label: str = ""
    missing: Missing = Missing.REFUSE
    info: ClassVar[MethodInfo] = MethodInfo(
        name="imported",
        summary="Component scores from a file: CSV, Parquet or MIB's circuit JSON.",
        granularities=frozenset(Granularity),
        access="none",
    )
    _path: Path = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Reads what the file is; the content's hash becomes part of the entry's identity.

        Raises:
            UsageError: the file cannot be read.
            ValueError: another content than `sha256` says.
        """
        if not self.file:
            return
        found = read_score_file(Path(self.file).expanduser())
        if self.sha256 not in ("", found.sha256):
            raise ValueError(f"expected {found.name} with SHA-256 {self.sha256[:12]}, found {found.sha256[:12]}.")
        set_field = object.__setattr__
        set_field(self, "_path", Path(self.file).expanduser())
        set_field(self, "file", found.name)
        set_field(self, "sha256", found.sha256)
        set_field(self, "info", replace(self.info, granularities=frozenset({found.granularity})))

    @property
    def title(self) -> str:
        """Name on the leaderboard."""
        return f"{self.label or self.file} (imported)" if self.file else ""

    def localize(self, problem: Problem) -> Scores:
        """The scores of the file in the order of the space.

        Raises:
            BadOption: there is no file.
            BadScores: the file does not belong to this model, or leaves components out.
        """
        if not self.file:
            raise BadOption("Expected a file of scores, found none. Use 'bench evaluate --scores FILE'.")
        return scores_of(read_score_file(self._path), problem.space, self.missing)
