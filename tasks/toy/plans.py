"""How much an audit measures, and what it certifies."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How much an audit measures.

    Attributes:
        nodes: questions for single nodes, each with two sources; all questions if there are no more.
        classes: questions for nodes at one position class.
        edges: questions for edges.
        swaps: questions for variable swaps.
        joint: questions for joint resampling, each with three draws.
        behaviour: random questions per operator, None for all (up to 3 digits) or 100,000.
        seed: of all draws.
    """

    nodes: int
    classes: int
    edges: int
    swaps: int
    joint: int
    behaviour: int | None
    seed: int = 0


QUICK = Plan(nodes=250, classes=100, edges=40, swaps=250, joint=250, behaviour=1000)
FULL = Plan(nodes=50_000, classes=1_000, edges=1_000, swaps=2_500, joint=20_000, behaviour=None)
TRAINED_QUICK = Plan(nodes=250, classes=250, edges=500, swaps=250, joint=500, behaviour=1000)
TRAINED_FULL = Plan(nodes=50_000, classes=10_000, edges=10_000, swaps=10_000, joint=100_000, behaviour=None)
"""For interchange-trained models, whose weakest edges change one answer in a hundred."""


@dataclass(frozen=True)
class Certificate:
    """One check and its outcome.

    Attributes:
        check: number of the check.
        name: what was checked.
        passed: outcome.
        n: questions or components it rests on.
        seed: of its draws.
        value: what was measured, where it is one number.
        bound: what it was compared with.
        dtype: of the computation.
        seconds: time it took.
    """

    check: int
    name: str
    passed: bool
    n: int
    seed: int | None
    value: float | None
    bound: float | None
    dtype: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As in the truth document."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__}
