"""Groups of ReLU units that compute an exact function of integer-valued features."""

from collections.abc import Iterable, Mapping

from arithloc.tasks.toy.roles import Neuron

GATE = 40.0
"""How far a closed gate pushes a unit below zero; larger than any value a unit reads."""


def added(*terms: Mapping[str, float]) -> dict[str, float]:
    """Sum of weighted feature lists; features whose weight becomes 0 are dropped."""
    total: dict[str, float] = {}
    for term in terms:
        for feature, weight in term.items():
            total[feature] = total.get(feature, 0.0) + weight
    return {feature: weight for feature, weight in total.items() if weight}


def gate(flags: Iterable[str], on: Iterable[str] = (), off: Iterable[str] = ()) -> tuple[dict[str, float], float]:
    """Weights and bias of a term that is 0 where one of `flags` is 1, all of `on` are 1 and all of `off` are 0.

    Anywhere else the term is at most -`GATE`. At most one flag may be 1 at a position.
    """
    on, off = tuple(on), tuple(off)
    weights = added(dict.fromkeys(flags, GATE), dict.fromkeys(on, GATE), dict.fromkeys(off, -GATE))
    return weights, -GATE * (1 + len(on))


def triangles(
    value: Mapping[str, float],
    span: range,
    closed: tuple[dict[str, float], float],
    writes: Mapping[int, Mapping[str, float]],
    shift: float = 0.0,
) -> tuple[Neuron, ...]:
    """Units that write `writes[k]` times max(0, 1 - |y - k|) for every k of `span`: one hinge per threshold.

    Args:
        value: y as a weighted sum of features.
        span: the consecutive integers y can be.
        closed: gate, as `gate` returns it.
        writes: what each integer writes; feature weights.
        shift: added to y before the comparison was shifted away, so that y - k is compared with `shift`.
    """
    weights, bias = closed
    units = []
    for t in range(span.start - 1, span.stop + 1):
        parts = [
            {f: w * coefficient for f, w in writes[k].items()}
            for k, coefficient in ((t + 1, 1.0), (t, -2.0), (t - 1, 1.0))
            if k in span
        ]
        written = added(*parts)
        units.append(Neuron(added(value, weights), bias - t - shift, written))
    return tuple(units)


def trapezoids(
    value: Mapping[str, float],
    span: range,
    closed: tuple[dict[str, float], float],
    writes: Mapping[int, Mapping[str, float]],
) -> tuple[Neuron, ...]:
    """As `triangles`, with four units per integer: full height up to a distance of 0.4, 0 from 0.6 on.

    A third more or less, and the small errors of soft attention on top, change nothing at all.
    """
    weights, bias = closed
    units = []
    for k in span:
        for edge, sign in ((0.6, 1.0), (0.4, -1.0), (-0.4, -1.0), (-0.6, 1.0)):
            written = {f: 5 * sign * w for f, w in writes[k].items()}
            units.append(Neuron(added(value, weights), bias - k + edge, written))
    return tuple(units)
