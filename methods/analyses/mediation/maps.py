"""Maps: the effect of patching each block, or each head, alone at each position class."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import SHOT, Ablation, ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.engine import Readings, Site, SiteKind
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.effects import ie_stolfo, logprob_effect
from arithloc.benchmark.metrics.measured import Spread, draws_of, masked_means
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.forms import LAST
from arithloc.methods.analyses.mediation.designs import Chosen, Design

ATTENTION, MLP = 0, 1
"""Places of a layer space."""
LARGEST = 300.0
"""Largest change of a log-probability whose exponential is still taken as it is (compiled toys have larger ones)."""


@dataclass(frozen=True, eq=False)
class PairEffects:
    """What patches do to the log-probabilities of the two results, per pair.

    Attributes:
        d: log P*(r) - log P(r), r the result of the run that the patch comes from.
        d_prime: log P(r') - log P*(r'), r' the result of the edited run; -d where both results are the same.
    """

    d: Float[ndarray, "*cell pair"]
    d_prime: Float[ndarray, "*cell pair"]

    @classmethod
    def of(cls, before: Readings, patched: Readings, *, result_fixed: bool) -> "PairEffects":
        """Effects of patches from the clean into the counterfactual run.

        Args:
            before: the counterfactual run.
            patched: the same with each patch.
            result_fixed: both runs have the clean answer; then IE = cosh d - 1, an effect without sign.
        """
        d = patched.logprob_answer - before.logprob_answer
        return cls(d, -d if result_fixed else before.logprob_foil - patched.logprob_foil)

    @property
    def ie(self) -> Float[ndarray, "*cell pair"]:
        """The paper's indirect effect; a change of more than 300 nats counts as 300."""
        return ie_stolfo(np.clip(self.d, -LARGEST, LARGEST), np.clip(self.d_prime, -LARGEST, LARGEST))

    @property
    def signed(self) -> Float[ndarray, "*cell pair"]:
        """(d + d') / 2: robust, signed; 0 where the result is fixed."""
        return logprob_effect(self.d, self.d_prime)


@dataclass(frozen=True, eq=False)
class ModuleMap:
    """Effects of attention and MLP blocks, by layer and position class.

    Attributes:
        design: which pairs.
        pairs: the pairs.
        classes: position classes in the order of the prompts.
        effects: (layer, attention or MLP, class, pair).
        embedding: the same of the input embeddings, (class, pair).
        has: which pairs have a class.
        before: the edited run, unpatched.
        last_mlps: readings of each MLP patched at the last position, (layer, pair).
        ceiling: effects of the donor run itself, (pair,): nothing single can do more on average.
    """

    design: Design
    pairs: tuple[PromptPair, ...]
    classes: tuple[str, ...]
    effects: PairEffects
    embedding: PairEffects
    has: Bool[ndarray, "cls pair"]
    before: Readings
    last_mlps: Readings
    ceiling: PairEffects

    @cached_property
    def draws(self) -> Resamples:
        """Resamples of its pairs."""
        return draws_of(self.pairs)

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return int(self.effects.d.shape[0])

    def spread(self, values: Float[ndarray, "layer module cls pair"]) -> Spread:
        """Means over the pairs that have the class, (layer, module, class)."""
        return masked_means(values, np.broadcast_to(self.has, values.shape), self.draws)

    @cached_property
    def signed(self) -> Spread:
        """Mean of (d + d') / 2 of every cell."""
        return self.spread(self.effects.signed)

    @cached_property
    def ie(self) -> Spread:
        """Mean of the indirect effect of every cell."""
        return self.spread(self.effects.ie)

    @property
    def last(self) -> int:
        """Which class is the last position."""
        return self.classes.index(LAST)

    def of_class(self, name: str) -> int | None:
        """Place of a class, None where the prompts have none of that name."""
        return self.classes.index(name) if name in self.classes else None


def module_map(model: SubjectModel, chosen: Chosen, progress: Progress) -> ModuleMap:
    """Patches every block alone at every position class, from the clean into the counterfactual run."""
    pairs, fixed = chosen.pairs, chosen.design.result_fixed
    classes = classes_of(pairs)
    space = ComponentSpace(Granularity.LAYER, model.shape, classes)
    before = engine.read(model, pairs, "counterfactual")
    patched = engine.sweep(model, pairs, space, progress=progress)
    inputs = [engine.sweep(model, pairs, [engine.embedding()], positions=name)[0] for name in classes]
    found = PairEffects.of(before, patched, result_fixed=fixed)
    grid = (*space.grid_shape, len(pairs))
    embedded = [PairEffects.of(before, one, result_fixed=fixed) for one in inputs]
    last = slice(len(classes) * MLP + classes.index(LAST), None, 2 * len(classes))
    return ModuleMap(
        design=chosen.design,
        pairs=pairs,
        classes=classes,
        effects=PairEffects(found.d.reshape(grid), found.d_prime.reshape(grid)),
        embedding=PairEffects(np.stack([e.d for e in embedded]), np.stack([e.d_prime for e in embedded])),
        has=np.array([[name in pair.classes for pair in pairs] for name in classes]),
        before=before,
        last_mlps=patched[last],
        ceiling=PairEffects.of(before, engine.read(model, pairs, "clean"), result_fixed=fixed),
    )


def node_map(
    model: SubjectModel, chosen: Chosen, before: Readings, positions: str, progress: Progress
) -> Float[ndarray, "layer node pair"]:
    """(d + d') / 2 of every head and MLP patched alone, at the last position or at all of them together."""
    space = ComponentSpace(Granularity.NODE, model.shape)
    patched = engine.sweep(model, chosen.pairs, space, positions=positions, progress=progress)
    found = PairEffects.of(before, patched, result_fixed=chosen.design.result_fixed)
    return found.signed.reshape(*space.grid_shape, len(chosen.pairs))


def random_donors(model: SubjectModel, chosen: Chosen, seed: int) -> tuple[PairEffects, Bool[ndarray, " pair"]]:
    """Effects of the last position's MLPs where the patch comes from another pair with the same position classes.

    Returns: effects (layer, pair), and which pairs have such another pair; the effects of all others are 0.
    """
    shapes = [pair.classes for pair in chosen.pairs]
    has = np.array([shapes.count(shape) > 2 for shape in shapes])
    pairs = [pair for pair, usable in zip(chosen.pairs, has, strict=True) if usable]
    d, d_prime = np.zeros((2, model.shape.n_layers, len(has)))
    if pairs:
        sites = [Site(SiteKind.MLP, layer) for layer in range(model.shape.n_layers)]
        patched = engine.sweep(model, pairs, sites, donor=Ablation.RESAMPLE, positions=LAST, reference=pairs, seed=seed)
        before = engine.read(model, pairs, "counterfactual")
        found = PairEffects.of(before, patched, result_fixed=chosen.design.result_fixed)
        d[:, has], d_prime[:, has] = found.d, found.d_prime
    return PairEffects(d, d_prime), has


def classes_of(pairs: Sequence[PromptPair]) -> tuple[str, ...]:
    """Position classes of all prompts, in their order; without exemplars, and without a start token that never differs."""
    found: list[str] = []
    for pair in pairs:
        place = 0
        for name in dict.fromkeys(pair.classes):
            if name in found:
                place = max(place, found.index(name) + 1)
            elif name not in (SHOT, "bos"):
                found.insert(place, name)
                place += 1
    return tuple(found)
