"""Recipes of compiled circuits: everything needed to rebuild one, its identity and its random draws."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from arithloc.tasks.toy.formats import Format

GENERATOR_VERSION = 1
VARIANTS = ("A", "B", "C", "D", "E")
STRESSORS = (1, 2, 3, 4, 5, 6, 7)
PLAIN_ONLY = {1, 3, 4, 5, 7}
"""Stressors that are built on variant A and exclude each other."""


def identity(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a recipe's fields."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def generator(sha256: str, purpose: str) -> np.random.Generator:
    """Generator of the draws for one purpose, seeded from a recipe's identity."""
    digest = hashlib.sha256(f"arithloc/toy/{GENERATOR_VERSION}/{sha256}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Recipe:
    """A compiled circuit.

    Attributes:
        n_digits: digits of an operand.
        operators: `+`, `-` or `+-`.
        n_layers: transformer blocks.
        n_heads: heads of a block.
        beta: sharpness: score by which an attended key beats the keys that do not match.
        variant: algorithm, see `arithloc.tasks.toy.variants`.
        stressor: 0 for a plain circuit, else the difficulty, see `arithloc.tasks.toy.stressors`.
        lag: largest lag of the near carry head (stressor 4).
        seed: of all draws.
        calibrated: decoys write with the norms of roles; without this, deep builds break.
        disguised: rotated residual basis, changed head bases, permuted neurons.
    """

    n_digits: int
    operators: str
    n_layers: int
    n_heads: int = 4
    beta: float = 24.0
    variant: str = "A"
    stressor: int = 0
    lag: int = 2
    seed: int = 0
    calibrated: bool = True
    disguised: bool = True

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS or self.stressor not in (0, *STRESSORS):
            raise ValueError(
                f"No variant {self.variant!r} or stressor {self.stressor}. Known: {VARIANTS}, {STRESSORS}."
            )
        if self.stressor in PLAIN_ONLY and self.variant != "A":
            raise ValueError(f"Stressor {self.stressor} is built on variant A, found variant {self.variant!r}.")
        if self.operators not in ("+", "+-"):
            raise ValueError(f"Compiled circuits add, or add and subtract; found operators {self.operators!r}.")
        if self.stressor == 7 and not self.subtracts:
            raise ValueError("Stressor 7 hides behind the operator bit and needs both operators, found '+'.")
        if self.variant == "E" and self.n_digits > 3:
            raise ValueError(f"Variant E is built for at most 3 digits, found {self.n_digits}.")

    @property
    def format(self) -> Format:
        """Format of the questions; compiled circuits always read `<bos>`."""
        return Format(self.n_digits, self.operators, bos=True)

    @property
    def subtracts(self) -> bool:
        """Whether the circuit knows subtraction."""
        return "-" in self.operators

    @property
    def n_inner(self) -> int:
        """Hidden units of an MLP."""
        return 256 if self.variant == "E" or self.stressor == 3 else 128

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return dataclasses.asdict(self)

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON of the recipe: its identity."""
        return identity(self.as_dict())

    def rng(self, purpose: str) -> np.random.Generator:
        """Generator of the draws for one purpose, seeded from the recipe's identity."""
        return generator(self.sha256, purpose)

    @property
    def levels(self) -> int:
        """Block levels of prefix doubling (variant B): blocks of up to 2^levels columns."""
        return int(math.log2(self.n_digits))
