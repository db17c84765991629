"""A report as Markdown."""

from collections.abc import Sequence

from arithloc.benchmark.analysis.provenance import Provenance
from arithloc.benchmark.api.report import Cell, Claim, Report, Table, Verdict
from arithloc.benchmark.metrics.bootstrap import FEW_CLUSTERS

LONG = 40
"""Rows of a table that a page shows; the file has them all."""


def markdown(report: Report, provenance: Provenance) -> str:
    """The whole page; pictures and full tables are files beside it."""
    parts = [f"# {report.title}: {provenance.model}", report.question, "## Claims", claim_summary(report.claims)]
    columns = ("claim", "verdict", "number [95 %]", "n", "what was measured", "holds if", "source")
    parts.append(pipe_table(columns, [claim_row(claim) for claim in report.claims]))
    notes = [f"- {claim.id}: {claim.note}" for claim in report.claims if claim.note]
    parts += ["\n".join(notes)] if notes else []
    parts += ["## Pairs", PAIRS_TEXT, pipe_table(SAMPLE_COLUMNS, sample_rows(report))]
    for section in report.sections:
        parts += [f"## {section.title}", section.text]
        for picture in section.pictures:
            parts.append(f"![{picture.title}](pictures/{picture.name}.svg)")
            parts += [picture.note] if picture.note else []
        for table in section.tables:
            parts += [f"**{table.title}** ([CSV](tables/{table.name}.csv))", *([table.note] if table.note else [])]
            parts.append(pipe_table(table.columns, shown_rows(table)))
            parts += [more] if (more := left_out(table)) else []
    parts += ["## Where this comes from", pipe_table(("", ""), provenance.facts())]
    return "\n\n".join(parts) + "\n"


SAMPLE_COLUMNS = ("pairs of", "drawn", "answered", "clusters", "analysed")
PAIRS_TEXT = (
    "Every set of pairs that was drawn. *Answered*: the answer's token leads among the candidates. Only answered pairs are analysed, and only where the "
    "model answers three quarters of them; intervals are 95 % intervals of a bootstrap over clusters (operand pairs, entities), and ~ marks those of fewer than 20."
)


def claim_summary(claims: Sequence[Claim]) -> str:
    """How many claims hold, in a sentence."""
    counts = {verdict: sum(claim.verdict is verdict for claim in claims) for verdict in Verdict}
    listed = ", ".join(f"{n} {verdict.value}" for verdict, n in counts.items() if n)
    return f"{len(claims)} claims: {listed}." if claims else "The paper makes no claim that is tested here."


def claim_row(claim: Claim) -> tuple[str, ...]:
    """A claim as the cells of a table."""
    estimate = claim.estimate
    number = f"{figure(estimate.value)} [{figure(estimate.low)}, {figure(estimate.high)}]" if estimate else "-"
    count = clusters(estimate.n) if estimate else "-"
    return (f"{claim.id}: {claim.text}", claim.verdict.value, number, count, claim.statistic, claim.rule, claim.source)


def clusters(n: int) -> str:
    """A number of clusters, with a mark where the interval is unreliable.

    Example:
    >>> clusters(19), clusters(20)
    ('19 ~', '20')
    """
    return f"{n} ~" if n < FEW_CLUSTERS else str(n)


def sample_rows(report: Report) -> list[tuple[Cell, ...]]:
    """Every set of pairs with what became of it."""
    return [
        (
            sample.task,
            sample.drawn,
            "-" if sample.accuracy is None else f"{sample.accuracy:.0%}",
            sample.n_clusters,
            "yes" if sample.solved else f"no: {sample.verdict}",
        )
        for sample in report.samples
    ]


def shown_rows(table: Table) -> tuple[tuple[Cell, ...], ...]:
    """Rows that a page shows."""
    return table.rows[:LONG]


def left_out(table: Table) -> str:
    """A sentence about the rows that it does not, or nothing."""
    n = len(table.rows) - LONG
    return f"{n} more rows are in tables/{table.name}.csv." if n > 0 else ""


def figure(value: Cell) -> str:
    """A value as a page shows it.

    Example:
    >>> [figure(v) for v in (0.12345, 1234.5, 3, True, None, "a")]
    ['0.123', '1.23e+03', '3', 'yes', '-', 'a']
    """
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def pipe_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *([figure(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
