"""Lines with bands as SVG."""

from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from arithloc.benchmark.api.report import Curves, Series

WIDTH, PLOT_WIDTH, PLOT_HEIGHT, LEFT, TOP = 640, 540, 260, 70, 60
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8A8A00")
"""Okabe and Ito's palette, which stays apart for colour-blind readers."""
DASHES: Final = ("", "6 3", "2 2", "8 3 2 3", "4 1", "10 4", "1 3", "6 2 1 2")


def curves_svg(picture: Curves) -> str:
    """Draws lines with their bands.

    Returns: an SVG document without scripts, fonts or other outside references.
    """
    ys = np.concatenate([part for s in picture.series for part in (s.y, s.low, s.high) if part is not None])
    x_ticks = ticks(*_span(np.concatenate([s.x for s in picture.series])))
    y_ticks = ticks(*_span(ys[np.isfinite(ys)]))
    height = TOP + PLOT_HEIGHT + 50 + 18 * len(picture.series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11" role="img">',
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#FFFFFF"/>',
        f'<text x="18" y="22" font-size="14" font-weight="bold" fill="#222222">{escape(picture.title)}</text>',
        f'<text x="18" y="42" fill="#555555">{escape(picture.y_title)}</text>',
    ]
    for tick in y_ticks:
        y = _place(tick, y_ticks, TOP + PLOT_HEIGHT, TOP)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{LEFT + PLOT_WIDTH}" stroke="{"#999999" if tick == 0 else "#E5E5E5"}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#222222">{tick:g}</text>')
    for tick in x_ticks:
        x = _place(tick, x_ticks, LEFT, LEFT + PLOT_WIDTH)
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + PLOT_HEIGHT + 16}" text-anchor="middle" fill="#222222">{tick:g}</text>'
        )
    parts.append(
        f'<text x="{LEFT + PLOT_WIDTH / 2:g}" y="{TOP + PLOT_HEIGHT + 34}" text-anchor="middle" fill="#222222">'
        f"{escape(picture.x_title)}</text>"
    )
    for i, series in enumerate(picture.series):
        parts += _line(series, i, x_ticks, y_ticks)
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose a range, about five of them.

    Example:
    >>> ticks(0.0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(3.0, 3.0)
    [2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.6]
    """
    if high <= low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * min((m for m in (1, 2, 5, 10) if m * power >= raw * 0.999), default=10)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def _span(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _place(value: float, axis: list[float], start: int, end: int) -> float:
    return start + (value - axis[0]) / (axis[-1] - axis[0]) * (end - start)


def _line(series: Series, i: int, x_ticks: list[float], y_ticks: list[float]) -> list[str]:
    colour = COLOURS[i % len(COLOURS)]

    def points(ys: np.ndarray) -> list[str]:
        return [
            f"{_place(float(x), x_ticks, LEFT, LEFT + PLOT_WIDTH):.1f} {_place(float(y), y_ticks, TOP + PLOT_HEIGHT, TOP):.1f}"
            for x, y in zip(series.x, ys, strict=True)
            if np.isfinite(y)
        ]

    parts = []
    if series.low is not None and series.high is not None:
        outline = [*points(series.low), *reversed(points(series.high))]
        if outline:
            parts.append(f'<path d="M{"L".join(outline)}Z" fill="{colour}" opacity="0.15"/>')
    line = points(series.y)
    if line:
        parts.append(
            f'<path d="M{"L".join(line)}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{DASHES[i % len(DASHES)]}"/>'
        )
    for place, y in zip(line, series.y[np.isfinite(series.y)], strict=True):
        x_text, y_text = place.split()
        parts.append(
            f'<circle cx="{x_text}" cy="{y_text}" r="3" fill="{colour}"><title>{escape(series.label)}: {y:.4g}</title></circle>'
        )
    y = TOP + PLOT_HEIGHT + 50 + 18 * i
    parts.append(
        f'<path d="M{LEFT} {y}H{LEFT + 30}" stroke="{colour}" stroke-width="2" stroke-dasharray="{DASHES[i % len(DASHES)]}"/>'
        f'<text x="{LEFT + 38}" y="{y + 4}" fill="#222222">{escape(series.label)}</text>'
    )
    return parts
