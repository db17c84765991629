"""Controls: claims that are false on purpose and that an audit must refuse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arithloc.tasks.toy.forward import Network
from arithloc.tasks.toy.interchange import resampled
from arithloc.tasks.toy.subject import Batch, Subject

RANDOM_SETS = 20


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: what is false.
        expected: what must be measured.
        value: what was measured.
        passed: whether the audit refused it.
    """

    name: str
    expected: str
    value: float
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """As in the truth document."""
        return {"name": self.name, "expected": self.expected, "value": self.value, "passed": self.passed}


def untrained_twin(subject: Subject, rng: np.random.Generator) -> Subject:
    """A model of the same shape with random weights; LayerNorm as it is in the original."""
    network = subject.network
    weights = {
        name: array if ".ln_" in name else rng.normal(0, max(float(array.std()), 0.02), array.shape)
        for name, array in network.weights.items()
    }
    dtype = network.weights["lm_head.weight"].dtype
    return Subject(Network(weights, network.config, dtype), subject.form)


def joint_errors(batch: Batch, nodes: Iterable[str], rng: np.random.Generator) -> float:
    """Share of questions that change when nodes are resampled together, each from a source of its own."""
    sources = {node: rng.permutation(len(batch.ids)) for node in nodes}
    return float(batch.compare(resampled(batch, sources, sources)).flips.mean())


def refuted(name: str, share: float) -> Control:
    """A set claimed to carry nothing must change answers when it is resampled."""
    return Control(name, "> 0 of answers flip", round(share, 6), share > 0)


@dataclass(frozen=True)
class Claim:
    """Which nodes are said to matter.

    Attributes:
        inside: nodes of the circuit.
        essential: those without a substitute.
        outside: nodes labelled `out`.
        elsewhere: nodes that the same program leaves out at another placement; None if there is no other.
        moved: nodes of the circuit that a false claim calls `out`; of a group as many as its quorum forbids.
    """

    inside: tuple[str, ...]
    essential: frozenset[str]
    outside: tuple[str, ...]
    elsewhere: tuple[str, ...] | None
    moved: tuple[str, ...]


def run_controls(batch: Batch, claim: Claim, rng: np.random.Generator) -> list[Control]:
    """Runs all controls on one batch."""
    twin = Batch.of(untrained_twin(batch.subject, rng), batch.questions)
    right = float((twin.predicted == batch.target).all(axis=1).mean())
    controls = [Control("untrained model", "accuracy below 0.01", right, right < 0.01)]
    shuffled = lacking(batch.subject.nodes, len(batch.subject.nodes) - len(claim.outside), claim, rng)
    controls.append(refuted("shuffled labels", joint_errors(batch, shuffled, rng)))
    if claim.elsewhere is not None:
        controls.append(refuted("truth of another placement", joint_errors(batch, claim.elsewhere, rng)))
    sets = [lacking(batch.subject.nodes, len(claim.inside), claim, rng) for _ in range(RANDOM_SETS)]
    best = 1 - min(joint_errors(batch, left, rng) for left in sets)
    controls.append(Control("random sets of the circuit's size", "accuracy below 1", round(best, 6), best < 1))
    controls.append(refuted("circuit node moved out", joint_errors(batch, (*claim.outside, *claim.moved), rng)))
    return controls


def lacking(nodes: Sequence[str], size: int, claim: Claim, rng: np.random.Generator) -> list[str]:
    """What is left beside a random set of `size` nodes that lacks an essential node."""
    while True:
        kept = {nodes[i] for i in rng.permutation(len(nodes))[:size]}
        if claim.essential - kept:
            return [node for node in nodes if node not in kept]
