"""Factual recall: the control in which something is looked up in the model's memory, in the form of the noun frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch
from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.facts.schema import FactDocument, Relation, read, shipped
from arithloc.tasks.factual_source import STYLES, FactSource, statement_lengths
from arithloc.tasks.layout import Bos

MAX_SHOTS = 16


@dataclass(frozen=True)
class Factual:
    """Recall a fact about a subject.

    Attributes:
        relations: names of relations, or `all`.
        frames: `F3` (question), `F4` (statement), or both.
        shots: solved questions of the same relation in front.
        chat: put the question into the tokenizer's chat template.
        bos: whether a token stands in front of the prompt.
        copy_shortcuts: keep facts whose answer can be copied (Tunisia - Tunis, helium - He).
        facts: a fact file of your own instead of the shipped one, or empty.
        split_seed: decides which entities belong to which split, and the exemplars.
    """

    relations: tuple[str, ...] = ("all",)
    frames: tuple[str, ...] = STYLES
    shots: int = 0
    chat: bool = False
    bos: Bos = Bos.ALWAYS
    copy_shortcuts: bool = False
    facts: str = ""
    split_seed: int = 0

    info = TaskInfo(
        name="factual",
        summary="Recall a fact: capitals, currencies, languages, chemical elements and others.",
        family="control",
        control_for="addition",
    )

    def __post_init__(self) -> None:
        self._chosen()
        refused = [name for name in self.frames if name not in STYLES]
        if refused or not self.frames:
            raise ValueError(f"Expected frames F3 or F4, found {', '.join(refused) or 'none'}. Use F3, F4 or F3+F4.")
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")

    def document(self) -> FactDocument:
        """The facts.

        Raises:
            ValueError: `facts` names a file that is not of the form.
        """
        return read(Path(self.facts)) if self.facts else shipped()

    def _chosen(self) -> tuple[Relation, ...]:
        """The relations asked for.

        Raises:
            UnknownName: no relation of that name.
            ValueError: none named, or a fact file that is not of the form.
        """
        document = self.document()
        known = [relation.id for relation in document.relations]
        for name in self.relations:
            if name != "all" and name not in known:
                raise UnknownName.among("relation", name, [*known, "all"])
        wanted = set(known) if "all" in self.relations else set(self.relations)
        if not wanted:
            raise ValueError("Expected at least one relation, found none. Name one, for example relations=capital.")
        return tuple(relation for relation in document.relations if relation.id in wanted)

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: no two subjects of a relation can stand for each other.
            TooFewPairs: no valid pair at all, or too few facts for the exemplars.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder, relations = Encoder(tokenizer), self._chosen()
        source = FactSource(
            task=self.info.name,
            relations=relations,
            styles=tuple(dict.fromkeys(self.frames)),
            shortcuts=self.copy_shortcuts,
            shots=self.shots,
            chat=self.chat,
            bos=self.bos,
            split=split,
            split_seed=self.split_seed,
            seed=seed,
            lengths=statement_lengths(encoder, relations),
        )
        alike = [pool for pools in source.pools.values() for pool in pools.values()]
        if any(alike) and not any(len({fact.object for fact in pool}) > 1 for pool in alike):
            names = ", ".join(relation.id for relation in relations)
            raise TokenizerMismatch(
                f"Expected two subjects of {names} with equally many tokens and different answers in {split.value}, "
                "found none for this tokenizer. Use more relations, or a fact file with more subjects."
            )
        return draw(source, tokenizer, split, n, seed)
