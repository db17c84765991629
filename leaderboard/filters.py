"""What a reader asked to see: presets, filters, and the sentence that spells the active ones out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from arithloc.leaderboard.text import counted


@dataclass(frozen=True)
class Preset:
    """One of the three views that come first.

    Attributes:
        label: text of the button; stands in the URL.
        score: what it ranks by.
        toys_only: only models whose circuit is proven.
        about: one sentence.
    """

    label: str
    score: str
    toys_only: bool
    about: str


PRESETS = (
    Preset(
        "Faithfulness area",
        "faithfulness_area",
        False,
        "How much of the model's behaviour the chosen components recover, over all circuit sizes.",
    ),
    Preset(
        "Sparse circuits",
        "sparsity",
        False,
        "The smallest circuit that surely recovers 90 % of the behaviour, as a share of the model's edges.",
    ),
    Preset(
        "Known circuits",
        "auroc",
        True,
        "How well the scores separate the components of a proven circuit from all others, on toy models.",
    ),
)


def preset(label: str | None) -> Preset:
    """The preset called `label`; the first one where there is none."""
    return next((p for p in PRESETS if p.label == label), PRESETS[0])


@dataclass(frozen=True)
class Facets:
    """The values a filter can take on one board, with the number of cells of each.

    Attributes:
        models: models.
        tasks: tasks.
        access: what methods need of the model.
    """

    models: Mapping[str, int]
    tasks: Mapping[str, int]
    access: Mapping[str, int]

    @property
    def entries(self) -> int:
        """Entries of the board, reference rows not counted."""
        return sum(self.access.values())


@dataclass(frozen=True)
class Filters:
    """What is kept. An empty tuple keeps everything.

    `models` and `tasks` choose cells, so they change values and ranks; `access` hides rows and changes no rank.
    """

    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    access: tuple[str, ...] = ()

    @classmethod
    def of(cls, facets: Facets, models: Sequence[str], tasks: Sequence[str], access: Sequence[str]) -> "Filters":
        """Filters on values that exist, in the order of the facets; choosing all values of one is no filter."""

        def known(chosen: Sequence[str], values: Mapping[str, int]) -> tuple[str, ...]:
            kept = tuple(v for v in values if v in chosen)
            return () if len(kept) == len(values) else kept

        return cls(known(models, facets.models), known(tasks, facets.tasks), known(access, facets.access))

    @property
    def cells(self) -> bool:
        """Whether some cells are left out, so that values are recomputed."""
        return bool(self.models or self.tasks)

    @property
    def active(self) -> bool:
        """Whether anything is left out."""
        return self.cells or bool(self.access)

    def keeps_cell(self, model: str, task: str) -> bool:
        """Whether a cell counts."""
        return (not self.models or model in self.models) and (not self.tasks or task in self.tasks)

    def keeps_entry(self, access: str) -> bool:
        """Whether an entry is shown."""
        return not self.access or access in self.access

    def summary(self, facets: Facets, shown: int, total: int) -> str:
        """One sentence that says what is left out, with counts; plain text.

        Args:
            facets: all values.
            shown: entries in view.
            total: entries of the board.
        """
        entries = counted(total, "entry") if shown == total else f"{shown} of {counted(total, 'entry')}"
        if not self.active:
            return f"No filter is active: {entries}."
        parts = [
            f"{len(chosen)} of {counted(len(values), noun)}"
            for chosen, values, noun in (
                (self.models, facets.models, "model"),
                (self.tasks, facets.tasks, "task"),
                (self.access, facets.access, "access level"),
            )
            if chosen
        ]
        effect = " Values and ranks are recomputed over the kept cells." if self.cells else ""
        return f"Filtered: {', '.join(parts)}; {entries} shown.{effect}"


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The three known names most like `name`, best first; fewer where nothing is near."""
    return get_close_matches(name[:200], known, n=3, cutoff=0.3)
