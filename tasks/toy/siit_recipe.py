"""What an interchange-trained model is meant to compute where: its recipe, its variables and the sites that hold them.

The program for addition: P_j = s_j, the sum of column j, at the second operand's digit; S_i = s_i mod 10 and C_i, the
carry into column i, at the position that predicts answer digit i; the last MLP writes (S_i + C_i) mod 10 there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import Carries, Questions, answer_digits, carries
from arithloc.tasks.toy.formats import Format
from arithloc.tasks.toy.natural import TrainingRecipe

SIIT_VERSION = 1
Rows = Bool[ndarray, "batch column"]


@dataclass(frozen=True)
class SiitRecipe(TrainingRecipe):
    """How an interchange-trained adder is trained.

    Attributes:
        batch: questions of each kind per step: plain, swapped, with strict sites replaced.
        weight_decay: of AdamW.
        alignment: 1 or 2, which heads hold the variables.
        redundant: two heads hold the carry, and either is to suffice when the other is at its mean.
        loud: the free heads begin with four times the output weights, and these do not decay.
    """

    batch: int = 128
    weight_decay: float = 0.01
    alignment: int = 1
    redundant: bool = False
    loud: bool = False
    activation: ClassVar[str] = "gelu"

    @cached_property
    def program(self) -> "Aligned":
        """The variables at their sites."""
        return Aligned.of(self)


@dataclass(frozen=True)
class Held:
    """A variable and where it is held.

    Attributes:
        name: `P`, `S` or `C`.
        definition: one sentence.
        values: what it can be.
        role: name of the nodes that hold it.
        nodes: nodes that hold it together.
        columns: column of each of its instances.
        classes: position class of each instance.
    """

    name: str
    definition: str
    values: tuple[int | str, ...]
    role: str
    nodes: tuple[str, ...]
    columns: tuple[int, ...]
    classes: tuple[str, ...]

    def target(self, base: Questions, source: Questions, swapped: Rows) -> Int[ndarray, "batch column"]:
        """Answer digits when the variable has the source's value in the columns that are swapped.

        Args:
            base: questions.
            source: questions that give the value.
            swapped: columns 0 to n.
        """
        digits = swapped[:, :-1]
        if self.name == "P":
            mixed = Questions(np.where(digits, source.x, base.x), np.where(digits, source.y, base.y), base.minus)
            return _digits(mixed.x + mixed.y, carries(mixed))
        own, other = carries(base), carries(source)
        if self.name == "S":
            return _digits(np.where(digits, source.x + source.y, base.x + base.y), own)
        return _digits(base.x + base.y, Carries(np.where(swapped, other.up, own.up), own.swapped))


def _digits(sums: Int[ndarray, "batch digit"], into: Carries) -> Int[ndarray, "batch column"]:
    nothing = np.zeros(len(sums), dtype=bool)
    return answer_digits(sums, into, nothing, nothing)


@dataclass(frozen=True)
class Aligned:
    """The program on a model.

    Attributes:
        form: format of the questions.
        nodes: all heads and MLPs.
        variables: P, S and C.
        output: the node that writes the answer.
    """

    form: Format
    nodes: tuple[str, ...]
    variables: tuple[Held, ...]
    output: str

    @classmethod
    def of(cls, recipe: SiitRecipe) -> "Aligned":
        """Places the variables as the recipe says."""
        form, n = recipe.format, recipe.n_digits
        column, digit, carry = ("a0.h0", "a1.h0", "a1.h1") if recipe.alignment == 1 else ("a0.h2", "a1.h3", "a1.h0")
        pair = ("a1.h1", "a1.h2") if recipe.redundant else (carry,)
        low, high = tuple(range(n)), tuple(range(1, n + 1))
        variables = (
            Held(
                "P",
                "s_j, the sum of column j",
                tuple(range(19)),
                "column",
                (column, "m0"),
                low,
                tuple(f"y{j}" for j in low),
            ),
            Held("S", "s_i mod 10", tuple(range(10)), "digit", (digit,), low, tuple(form.predictor(i) for i in low)),
            Held("C", "carry into column i", (0, 1), "carry", pair, high, tuple(form.predictor(i) for i in high)),
        )
        nodes = tuple(
            name
            for layer in range(recipe.n_layers)
            for name in (*(f"a{layer}.h{head}" for head in range(recipe.n_heads)), f"m{layer}")
        )
        return cls(form, nodes, variables, f"m{recipe.n_layers - 1}")

    def role(self, node: str) -> str | None:
        """What a node is for, None for one that must carry nothing."""
        if node == self.output:
            return "output"
        return next((held.role for held in self.variables if node in held.nodes), None)

    def at(self, node: str) -> Bool[ndarray, " pos"]:
        """Positions at which a node is part of the circuit."""
        chosen = [cls for held in self.variables if node in held.nodes for cls in held.classes]
        if node == self.output:
            chosen = [self.form.predictor(i) for i in range(self.form.n_digits + 1)]
        return np.isin(np.array(self.form.classes), chosen)

    def strict(self, node: str) -> Bool[ndarray, " pos"]:
        """Positions at which a node is trained to carry nothing: all at which it is not part of the circuit."""
        return ~self.at(node)

    def silent(self, node: str) -> Bool[ndarray, " pos"]:
        """Positions at which a node is claimed to carry nothing.

        The program says nothing about the sign, which the output node writes at `eq`, and training under replacements
        scores digits only: no claim there.
        """
        free = np.array([node == self.output and cls == "eq" for cls in self.form.classes])
        return np.asarray(self.strict(node) & ~free)
