"""Chain of thought over ontologies (Dutta et al., arXiv:2402.18312), with a generator of its own."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import Gate, PromptPair, Split, TaskInfo, TokenizerMismatch
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.layout import Bos
from arithloc.tasks.ontology_chain import MAX_HOPS, Step, steps
from arithloc.tasks.ontology_edits import CONFLICTS, Kind, kinds
from arithloc.tasks.ontology_encoding import PromptEncoder
from arithloc.tasks.ontology_items import Order
from arithloc.tasks.ontology_source import OntologySource
from arithloc.tasks.ontology_vocabulary import Vocabulary, WorldName, divide, separable
from arithloc.tasks.ontology_worlds import World

MAX_SHOTS = 9
DISTRACTORS = (0, 2, 4)


@dataclass(frozen=True)
class OntologyCot:
    """Options of the ontology task.

    Attributes:
        step: scored word of the chain: `decision-0`, `copy-1`, `decision-2`, `copy-3`, `decision-4`, `induction-5`, and so
            on up to number 4 x hops + 1.
        kind: where the counterfactual differs.
        hops: classes between the name and the property.
        world: how the classes relate to what is known.
        distractors: statements that have nothing to do with the two chains: 0, 2 or 4.
        order: order of the statements of a question.
        shots: solved questions in front; identical in every prompt.
        bos: whether a token stands in front of the prompt.
        split_seed: decides which names and classes belong to which split, and the exemplars.
    """

    step: str = "induction-5"
    kind: Kind = Kind.CONSISTENT
    hops: int = 2
    world: WorldName = WorldName.FICTIONAL
    distractors: int = 0
    order: Order = Order.SHUFFLED
    shots: int = 6
    bos: Bos = Bos.ALWAYS
    split_seed: int = 0

    info = TaskInfo(
        name="ontology-cot",
        summary="The next word of a chain of thought over made-up, false or true links between classes.",
        family="reasoning",
        gate=Gate(share=0.8, counterfactual=True, vocabulary=True),
    )

    def __post_init__(self) -> None:
        if not 1 <= self.hops <= MAX_HOPS:
            raise ValueError(f"Expected 1 to {MAX_HOPS} hops, found {self.hops}. Use hops=2.")
        if self.distractors not in DISTRACTORS:
            raise ValueError(f"Expected 0, 2 or 4 distractors, found {self.distractors}. Use distractors=2.")
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")
        known = {step.name: step for step in steps(self.hops)}
        if self.step not in known:
            raise ValueError(
                f"Expected a step of a chain of {self.hops} hops, found {self.step!r}. Use one of {', '.join(known)}."
            )
        offered = kinds(self.scored)
        if self.kind not in offered:
            raise ValueError(
                f"Expected a kind of {self.step}, found {self.kind}. Use kind={' or kind='.join(offered)}."
            )
        if self.kind is Kind.CONTROL and self.distractors == 0:
            raise ValueError("Expected distractors to change for kind control, found none. Use distractors=2.")

        if self.kind in CONFLICTS:  # their counterfactuals have two readings and so no right answer
            gate = dataclasses.replace(self.info.gate, counterfactual=False)
            object.__setattr__(self, "info", dataclasses.replace(self.info, gate=gate))

    @property
    def scored(self) -> Step:
        """The scored step."""
        return next(step for step in steps(self.hops) if step.name == self.step)

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task.
            TooFewPairs: no valid pair at all.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        return draw(self.source(tokenizer, split, seed), PromptEncoder(tokenizer), split, n, seed)

    def source(self, tokenizer: Any, split: Split, seed: int) -> OntologySource:
        """Questions of a split in the words that a tokenizer can tell apart.

        Raises:
            TokenizerMismatch: too few such words.
        """
        n_shown = self.shots * (2 * self.hops + self.distractors)
        parts = divide(separable(tokenizer, self.world), self.split_seed, n_shown)
        world = self._world(parts[split], f"the {split.value} split", spare=1)
        return OntologySource(
            task=self.info.name,
            world=world,
            shown=self._world(parts[None], "the exemplars", spare=0) if self.shots else world,
            step=self.scored,
            site=self.kind,
            order=self.order,
            shots=self.shots,
            bos=self.bos,
            split=split,
            split_seed=self.split_seed,
            seed=seed,
        )

    def _world(self, vocabulary: Vocabulary, where: str, spare: int) -> World:
        world = World(self.world, vocabulary, self.hops, self.distractors)
        lacking = world.check(spare)
        if lacking:
            raise TokenizerMismatch(
                f"Expected words of {where} with equally many tokens and first tokens of their own: at least {lacking}. "
                "Use fewer hops, distractors or shots, another world or split seed, or a tokenizer with larger pieces."
            )
        return world
