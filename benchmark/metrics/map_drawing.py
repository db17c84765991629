"""A picture of scores by position: position classes as columns, nodes as rows, layer 0 at the bottom; as SVG."""

from collections.abc import Collection, Mapping
from xml.sax.saxutils import escape

from arithloc.benchmark.api import Granularity, Scores
from arithloc.benchmark.api.errors import BadOption

CELL, HEIGHT, LEFT, TOP, MARGIN = 58, 24, 70, 84, 24
PALE, DARK = (247, 251, 255), (8, 81, 156)
"""Colours of the smallest and of the largest score."""
PROVEN = "#D55E00"


def map_svg(
    scores: Scores, title: str, *, tags: Mapping[str, str] | None = None, proven: Collection[str] | None = None
) -> str:
    """Draws scores of a node space with position classes.

    Args:
        scores: signed; cells show absolute values, empty where they round to 0.
        title: first line.
        tags: text of cells by component name, shown in place of the number.
        proven: components of the proven circuit, outlined; None where nothing is known.

    Returns: an SVG document without outside references.

    Raises:
        BadOption: another space.
    """
    space = scores.space
    if space.granularity is not Granularity.NODE or not space.classes:
        raise BadOption(
            "Expected scores of nodes by position class, found another space. Localize with position classes."
        )
    grid = abs(scores.values).reshape(-1, len(space.classes))
    largest = float(grid.max()) or 1.0
    names = [name.rpartition("@")[0] for name in space.names[:: len(space.classes)]]
    width = LEFT + CELL * len(space.classes) + MARGIN
    height = TOP + HEIGHT * len(names) + MARGIN + 18
    note = "values: absolute scores" + ("; outlined: the proven circuit" if proven is not None else "")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#FFFFFF"/>',
        f'<text x="{MARGIN}" y="26" font-size="15" font-weight="bold" fill="#222222">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="44" fill="#555555">{note}</text>',
    ]
    for column, cls in enumerate(space.classes):
        x = LEFT + CELL * column + CELL / 2
        parts.append(f'<text x="{x:g}" y="{TOP - 8}" text-anchor="middle" fill="#222222">{escape(cls)}</text>')
    for row, node in enumerate(names):
        y = TOP + HEIGHT * (len(names) - 1 - row)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end" fill="#222222">{escape(node)}</text>')
        for column, cls in enumerate(space.classes):
            value, name = float(grid[row, column]), f"{node}@{cls}"
            parts.append(_cell(LEFT + CELL * column, y, value, value / largest, name, (tags or {}).get(name)))
    for name in proven or ():
        node, _, cls = name.partition("@")
        if node in names and cls in space.classes:
            x, y = LEFT + CELL * space.classes.index(cls), TOP + HEIGHT * (len(names) - 1 - names.index(node))
            parts.append(
                f'<rect x="{x + 1.5}" y="{y + 1.5}" width="{CELL - 3}" height="{HEIGHT - 3}" fill="none" '
                f'stroke="{PROVEN}" stroke-width="2"/>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cell(x: int, y: int, value: float, share: float, name: str, tag: str | None) -> str:
    colour = "#" + "".join(f"{round(low + (high - low) * share):02X}" for low, high in zip(PALE, DARK, strict=True))
    text = tag or (f"{value:.2f}" if value >= 0.005 else "")
    return (
        f"<g><title>{escape(name)}: {value:.4g}</title>"
        f'<rect x="{x}" y="{y}" width="{CELL}" height="{HEIGHT}" fill="{colour}" stroke="#DDDDDD"/>'
        f'<text x="{x + CELL / 2:g}" y="{y + 16}" text-anchor="middle" fill="{"#FFFFFF" if share > 0.5 else "#222222"}">'
        f"{escape(text)}</text></g>"
    )
