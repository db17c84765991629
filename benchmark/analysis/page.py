"""A report as one HTML page without outside references: pictures are in it."""

from collections.abc import Sequence
from html import escape

from arithloc.benchmark.analysis.curves import curves_svg
from arithloc.benchmark.analysis.heatmap import heatmap_svg
from arithloc.benchmark.analysis.markdown import (
    PAIRS_TEXT,
    SAMPLE_COLUMNS,
    claim_summary,
    clusters,
    figure,
    left_out,
    sample_rows,
    shown_rows,
)
from arithloc.benchmark.analysis.provenance import Provenance
from arithloc.benchmark.api.report import Cell, Claim, Heatmap, Picture, Report, Section, Verdict

_STYLE = """
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #1c1c1c; background: #fff; max-width: 1080px; margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem }
table { border-collapse: collapse; font-size: .86rem; margin: .6rem 0 1.2rem; display: block; overflow-x: auto }
th, td { text-align: left; padding: .28rem .6rem; border-bottom: 1px solid #e6e6e6; vertical-align: top }
th { background: #f5f5f5; white-space: nowrap } td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.lead { color: #444; margin-top: 0 } .note { color: #555; font-size: .86rem; margin: .2rem 0 }
figure { margin: .8rem 0 } figcaption { color: #555; font-size: .86rem } svg { max-width: 100%; height: auto }
.claim { border-left: 5px solid #999; padding: .35rem .9rem; margin: .55rem 0; background: #fafafa } .claim p { margin: .1rem 0 }
.badge { display: inline-block; min-width: 7.5rem; font-weight: bold } .holds { border-color: #0a7d4f } .holds .badge { color: #0a7d4f }
.fails { border-color: #b3261e } .fails .badge { color: #b3261e } .undecided { border-color: #b7791f } .undecided .badge { color: #95600f }
.untested .badge { color: #666 } code { font-size: .86rem; overflow-wrap: anywhere }
"""
_CLASSES = {
    Verdict.HOLDS: "holds",
    Verdict.FAILS: "fails",
    Verdict.UNDECIDED: "undecided",
    Verdict.UNTESTED: "untested",
}


def page(report: Report, provenance: Provenance) -> str:
    """The whole page."""
    title = f"{report.title}: {provenance.model}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(report.question)}</p>',
        "<h2>Claims</h2>",
        f"<p>{escape(claim_summary(report.claims))}</p>",
        *map(_claim, report.claims),
        "<h2>Pairs</h2>",
        f"<p>{escape(PAIRS_TEXT.replace('*', ''))}</p>",
        _table(SAMPLE_COLUMNS, sample_rows(report)),
        *(part for section in report.sections for part in _section(section)),
        "<h2>Where this comes from</h2>",
        _table(("", ""), provenance.facts()),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def picture_svg(picture: Picture) -> str:
    """A picture as an SVG document."""
    return heatmap_svg(picture) if isinstance(picture, Heatmap) else curves_svg(picture)


def _claim(claim: Claim) -> str:
    estimate = claim.estimate
    lines = [
        f'<p><span class="badge">{escape(claim.verdict.value)}</span> <b>{escape(claim.id)}</b> {escape(claim.text)}</p>'
    ]
    if estimate is not None:
        lines.append(
            f'<p class="note">{escape(claim.statistic)}: <b>{figure(estimate.value)}</b> '
            f"[{figure(estimate.low)}, {figure(estimate.high)}], n = {clusters(estimate.n)}; holds if {escape(claim.rule)}.</p>"
        )
    else:
        lines.append(f'<p class="note">Would be measured: {escape(claim.statistic)}.</p>')
    if claim.note:
        lines.append(f'<p class="note">{escape(claim.note)}</p>')
    lines.append(f'<p class="note">{escape(claim.source)}</p>')
    return f'<div class="claim {_CLASSES[claim.verdict]}">{"".join(lines)}</div>'


def _section(section: Section) -> list[str]:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.text.split("\n\n") if paragraph]
    for picture in section.pictures:
        caption = f"<figcaption>{escape(picture.note)}</figcaption>" if picture.note else ""
        parts.append(f"<figure>{picture_svg(picture)}{caption}</figure>")
    for table in section.tables:
        parts.append(f'<p><b>{escape(table.title)}</b> (<a href="tables/{escape(table.name)}.csv">CSV</a>)</p>')
        parts += [f'<p class="note">{escape(table.note)}</p>'] if table.note else []
        parts.append(_table(table.columns, shown_rows(table)))
        parts += [f'<p class="note">{escape(more)}</p>'] if (more := left_out(table)) else []
    return parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(value: Cell) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{'<td class=number>' if is_number else '<td>'}{escape(figure(value))}</td>"
