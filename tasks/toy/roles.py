"""What a compiled circuit is made of, before it becomes weights: heads and neurons that read and write named features.

Each feature is one coordinate of the residual stream before it is rotated. A program is a set of roles with an order
on their layers; the weights, the expected edges and the truth labels all follow from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from arithloc.tasks.toy.formats import Format

BIAS = "bias"
"""In place of a query feature: every query position."""


def seen(letter: str, column: int) -> str:
    """Position flag of digit `column` of operand `x` or `y`."""
    return f"{letter.upper()}P{column}"


def asks(column: int) -> str:
    """Flag of the position that predicts answer digit `column`."""
    return f"Q{column}"


def out(token: int | str) -> str:
    """Feature that the unembedding reads for an answer token."""
    return f"OUT_{token}"


@dataclass(frozen=True)
class Channel:
    """One value direction of a head: a weighted sum of features, added to other features with weights."""

    reads: dict[str, float]
    writes: dict[str, float]


@dataclass(frozen=True)
class HeadRole:
    """One attention head.

    Attributes:
        name: role; redundant copies have names of their own.
        scores: pre-softmax score by (query feature or `BIAS`, key feature); pairs not listed score 0.
        channels: what is moved.
        classes: position classes at which the head carries its variable.
        label: `in`, `out` (planted without effect) or `undecided`.
        group: redundancy or cancellation group.
        quorum: members of the group that are needed.
    """

    name: str
    scores: dict[tuple[str, str], float]
    channels: tuple[Channel, ...]
    classes: tuple[str, ...]
    label: str = "in"
    group: str | None = None
    quorum: int | None = None

    def reads(self, slot: str) -> frozenset[str]:
        """Features read as query, key or value."""
        if slot == "q":
            return frozenset(query for query, _ in self.scores) - {BIAS}
        if slot == "k":
            return frozenset(key for _, key in self.scores)
        return frozenset(f for channel in self.channels for f in channel.reads)

    @property
    def writes(self) -> frozenset[str]:
        """Features written."""
        return frozenset(f for channel in self.channels for f in channel.writes)


@dataclass(frozen=True)
class Neuron:
    """One ReLU unit: relu(sum of reads + bias), added to features with weights; `out` if it never matters."""

    reads: dict[str, float]
    bias: float
    writes: dict[str, float]
    label: str = "in"


@dataclass(frozen=True)
class MlpRole:
    """The role neurons of one MLP.

    Attributes:
        name: role.
        neurons: its units.
        classes: position classes at which it computes its variable.
        gated_off: features that it reads but that never change its output on real questions.
    """

    name: str
    neurons: tuple[Neuron, ...]
    classes: tuple[str, ...]
    gated_off: frozenset[str] = frozenset()

    @property
    def reads(self) -> frozenset[str]:
        """Features read by any unit."""
        return frozenset(f for neuron in self.neurons for f in neuron.reads)

    @property
    def writes(self) -> frozenset[str]:
        """Features written by any unit."""
        return frozenset(f for neuron in self.neurons for f in neuron.writes)


@dataclass(frozen=True)
class Order:
    """`first` sits in a lower layer than `then`, or in the same one where `same` allows it."""

    first: str
    then: str
    same: bool


@dataclass(frozen=True)
class Program:
    """A whole circuit.

    Attributes:
        token: features of the token embedding, by token id.
        position: features of the position embedding, by input position.
        heads: attention roles.
        mlps: MLP roles.
        orders: constraints on their layers.
    """

    token: dict[int, dict[str, float]]
    position: dict[int, dict[str, float]]
    heads: tuple[HeadRole, ...]
    mlps: tuple[MlpRole, ...]
    orders: tuple[Order, ...] = ()

    @property
    def roles(self) -> tuple["HeadRole | MlpRole", ...]:
        """All roles, attention first."""
        return (*self.heads, *self.mlps)

    @property
    def constant(self) -> frozenset[str]:
        """Features that depend on the position alone."""
        return frozenset(f for row in self.position.values() for f in row)

    @property
    def features(self) -> tuple[str, ...]:
        """All features, in a fixed order."""
        found: dict[str, None] = {}
        for row in (*self.token.values(), *self.position.values()):
            found.update(dict.fromkeys(row))
        for head in self.heads:
            for names in (head.reads("q"), head.reads("k"), head.reads("v"), head.writes):
                found.update(dict.fromkeys(sorted(names)))
        for mlp in self.mlps:
            found.update(dict.fromkeys(sorted(mlp.reads | mlp.writes)))
        return tuple(found)


def before(first: str, *then: str) -> tuple[Order, ...]:
    """`first` in a strictly lower layer than each of `then`."""
    return tuple(Order(first, t, same=False) for t in then)


def not_after(first: Iterable[str], then: str) -> tuple[Order, ...]:
    """Each of `first` in the layer of `then` or below it."""
    return tuple(Order(f, then, same=True) for f in first)


def position_features(form: Format, scale: float) -> dict[int, dict[str, float]]:
    """Position flags, and `scale` on `OUT_+` where the sign is predicted."""
    table: dict[int, dict[str, float]] = {}
    flags = {"bos": "BOSP", "op": "OPP", "eq": "EQP", "sign": "SGNP"}
    for index, cls in enumerate(form.classes):
        name = flags[cls] if cls in flags else seen(cls[0], int(cls[1:])) if cls[0] in "xy" else ""
        row = {name: 1.0} if name else {}
        for column in range(form.n_digits + 1):
            if form.predictor(column) == cls:
                row[asks(column)] = 1.0
        if cls == "eq":
            row[out("+")] = scale
        table[index] = row
    return table
