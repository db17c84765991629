"""A picture of a proven circuit as SVG: layers from the input up, roles in colour, everything outside the circuit grey."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from arithloc.benchmark.metrics.truth_document import Edge, Node, TruthDocument

HEAD_WIDTH, MLP_WIDTH, HEIGHT, GAP, ROW = 96.0, 150.0, 40.0, 40.0, 82.0
MARGIN, TITLE = 28.0, 56.0
COLOURS = {"q": "#009E73", "k": "#D55E00", "v": "#0072B2", "": "#444444"}
"""Colours of edges by the slot that reads them (Okabe and Ito's palette)."""
FILLS = {"in": ("#DCEBF7", "#0072B2", "#10202C"), "undecided": ("#FFF3D6", "#B8860B", "#3A2C00")}
"""Fill, border and text of nodes by label."""
GREY = ("#F4F4F4", "#D0D0D0", "#9A9A9A")


@dataclass(frozen=True)
class Box:
    """A node's place: centre, width, and the text in it."""

    x: float
    y: float
    width: float
    upper: str
    lower: str
    label: str
    hint: str


def circuit_svg(document: TruthDocument) -> str:
    """Draws a circuit.

    Args:
        document: what is known about it. Edges that are `in` or `undecided` are drawn; `static` and other ones are not.

    Returns: an SVG document without scripts, fonts or other outside references.
    """
    n_layers = max(node.layer for node in document.nodes) + 1
    n_heads = sum(node.kind == "head" for node in document.nodes) // n_layers
    width = max(2 * MARGIN + n_heads * (HEAD_WIDTH + GAP), 560.0)
    height = TITLE + (2 * n_layers + 2) * ROW + MARGIN
    boxes = _boxes(document, n_layers, n_heads, width, height)
    edges = [edge for edge in document.edges if edge.label != "static"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{width:g}" height="{height:g}" fill="#FFFFFF"/>',
        *_title(document),
        *(line for number, edge in enumerate(edges) for line in _edge(edge, boxes, number)),
        *(line for box in boxes.values() for line in _box(box)),
        *_legend(edges, width),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(document: TruthDocument, n_layers: int, n_heads: int, width: float, height: float) -> dict[str, Box]:
    span = n_heads * HEAD_WIDTH + (n_heads - 1) * GAP
    left, middle, bottom = (width - span) / 2, width / 2, height - MARGIN - HEIGHT / 2
    found = {"input": Box(middle, bottom, MLP_WIDTH, "input", "tokens and positions", "in", "embedding")}
    for node in document.nodes:
        row = 2 * node.layer + (2 if node.head is None else 1)
        x = middle if node.head is None else left + HEAD_WIDTH / 2 + node.head * (HEAD_WIDTH + GAP)
        lower = node.role or ("no role" if node.label == "out" else node.label)
        wide = MLP_WIDTH if node.head is None else HEAD_WIDTH
        found[node.id] = Box(x, bottom - row * ROW, wide, node.id, lower, node.label, _hint(node))
    top = bottom - (2 * n_layers + 1) * ROW
    return found | {"logits": Box(middle, top, MLP_WIDTH, "logits", "answer tokens", "in", "unembedding")}


def _hint(node: Node) -> str:
    group = f", {node.quorum} of the group {node.group} suffice" if node.quorum else ""
    served = [cls for cls, label in node.classes.items() if label == node.label] if node.label != "out" else []
    where = f", at {' '.join(served)}" if served else ""
    return f"{node.id}: {node.label}{where}{group}; {node.effect.resample.flip:.1%} of answers change when resampled"


def _title(document: TruthDocument) -> Iterator[str]:
    form = document.format
    work = {"+": "addition", "-": "subtraction", "+-": "addition and subtraction"}[form.operators]
    stress = f", {', '.join(document.stressors)}" if document.stressors else ""
    yield f'<text x="{MARGIN:g}" y="26" font-size="16" font-weight="bold" fill="#222222">{escape(document.id)}</text>'
    text = f"{form.n_digits}-digit {work}{stress}; grey: outside the circuit"
    yield f'<text x="{MARGIN:g}" y="44" font-size="12" fill="#555555">{escape(text)}</text>'


def _box(box: Box) -> Iterator[str]:
    fill, border, text = FILLS.get(box.label, GREY)
    dash = ' stroke-dasharray="5 3"' if box.label == "undecided" else ""
    yield (
        f'<g><title>{escape(box.hint)}</title><rect x="{box.x - box.width / 2:g}" y="{box.y - HEIGHT / 2:g}" '
        f'width="{box.width:g}" height="{HEIGHT:g}" rx="7" fill="{fill}" stroke="{border}" stroke-width="1.4"{dash}/>'
    )
    yield f'<text x="{box.x:g}" y="{box.y - 4:g}" font-size="11" text-anchor="middle" fill="{text}">{escape(box.upper)}</text>'
    yield (
        f'<text x="{box.x:g}" y="{box.y + 12:g}" font-size="13" font-weight="bold" text-anchor="middle" '
        f'fill="{text}">{escape(box.lower)}</text></g>'
    )


def _edge(edge: Edge, boxes: dict[str, Box], number: int) -> Iterator[str]:
    sender, receiver = boxes[edge.sender], boxes[edge.receiver]
    slot = edge.slot or ""
    # queries enter a head on the left, keys in the middle, values on the right; parallel edges lie side by side
    aside = 4 * (number % 5 - 2)
    end = receiver.x + {"q": -28, "k": 0, "v": 28}.get(slot, 2 * aside)
    points = [(sender.x + 2 * aside, sender.y - HEIGHT / 2)]
    for y in sorted({box.y for box in boxes.values() if receiver.y < box.y < sender.y}, reverse=True):
        straight = points[0][0] + (end - points[0][0]) * (sender.y - y) / (sender.y - receiver.y)
        x = _clear(straight, [box for box in boxes.values() if box.y == y]) + aside
        points += [(x, y + HEIGHT / 2), (x, y - HEIGHT / 2)]
    points.append((end, receiver.y + HEIGHT / 2))
    path = f"M {points[0][0]:g} {points[0][1]:g}"
    for (x1, y1), (x2, y2) in pairwise(points):
        path += f" C {x1:g} {(y1 + y2) / 2:g}, {x2:g} {(y1 + y2) / 2:g}, {x2:g} {y2:g}"
    dash = ' stroke-dasharray="5 3"' if edge.label == "undecided" else ""
    yield (
        f"<g><title>{escape(edge.name)}: {edge.label}, {edge.flip:.1%} of answers change</title>"
        f'<path d="{path}" fill="none" stroke="{COLOURS[slot]}" stroke-width="1.6" stroke-opacity="0.8"{dash}/></g>'
    )


def _clear(x: float, row: list[Box]) -> float:
    """The place nearest to `x` at which a line passes a row of boxes without touching one."""
    sides = [box.x + side * (box.width + GAP) / 2 for box in row for side in (-1, 1)]
    if all(abs(x - box.x) >= (box.width + GAP) / 2 for box in row):
        return x
    return min(sides, key=lambda side: abs(side - x))


def _legend(edges: list[Edge], width: float) -> Iterator[str]:
    names = {"q": "query", "k": "key", "v": "value", "": "MLP or logits"}
    x = width - MARGIN
    for slot in reversed([slot for slot in names if any((edge.slot or "") == slot for edge in edges)]):
        yield f'<text x="{x:g}" y="26" font-size="11" text-anchor="end" fill="{COLOURS[slot]}">{names[slot]}</text>'
        x -= 6 * len(names[slot]) + 12
    yield f'<text x="{x:g}" y="26" font-size="11" text-anchor="end" fill="#555555">edge into:</text>'
