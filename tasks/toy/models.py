"""The toy models by name."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arithloc.benchmark.api import Progress
from arithloc.benchmark.api.method import no_progress
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.shipped import has_truth, read_truth
from arithloc.tasks.toy.trained_models import TRAINED, TrainedSource


@dataclass(frozen=True)
class CompiledSource:
    """A compiled circuit, built into the user's cache when it is first asked for.

    Attributes:
        name: what `--model` takes.
        recipe: how it is built.
        summary: one sentence.
        is_toy: its circuit is known.
    """

    name: str
    recipe: Recipe
    summary: str
    is_toy: bool = True

    def folder(self, cache: Path) -> Path:
        """The model's folder below `cache / "toys"`; its name carries the recipe's hash."""
        target = cache / "toys" / f"{self.name}-{self.recipe.sha256[:12]}"
        if not (target / "config.json").is_file():
            # imported here: listing models must not load the numerical libraries
            from arithloc.tasks.toy.compiled import compile_circuit
            from arithloc.tasks.toy.export import write_folder

            built = compile_circuit(self.recipe)
            write_folder(built.weights, built.config, self.recipe.format, target)
        return target

    def truth(self) -> Mapping[str, Any]:
        """The truth document that was proven for this recipe."""
        return read_truth(self.name)

    def audit(
        self, cache: Path, *, full: bool = False, out: Path | None = None, progress: Progress = no_progress
    ) -> Mapping[str, Any]:
        """Proves the circuit on the model's folder again.

        Args:
            cache: where models are built.
            full: measure on as many questions as the shipped documents rest on, not on a few.
            out: folder that receives the document if every check passed.
            progress: called after each check.

        Returns: a truth document with the certificates of this run, those that failed included. Check 9 also compares
            the shipped document, where there is one, with the recipe.
        """
        from arithloc.tasks.toy.audit import audit, truth_document
        from arithloc.tasks.toy.certify import commit_of, proven, write_document
        from arithloc.tasks.toy.plans import FULL, QUICK

        claimed = self.truth() if has_truth(self.name) else None
        done = audit(self.name, self.recipe, self.folder(cache), FULL if full else QUICK, claimed, progress)
        created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = truth_document(done, created, commit_of(Path(__file__).parent))
        if out is not None and proven(document):
            write_document(document, out)
        return document


def base_recipes() -> dict[str, Recipe]:
    """Plain circuits: a gate that every causal method should pass."""
    table = (
        (2, "+", 2, 24.0),
        (2, "+-", 2, 14.0),
        (2, "+-", 4, 24.0),
        (3, "+", 2, 14.0),
        (3, "+-", 2, 24.0),
        (3, "+-", 4, 14.0),
        (5, "+", 2, 24.0),
        (5, "+-", 4, 24.0),
    )
    return {
        f"toy-a-base-{i}": Recipe(digits, operators, layers, beta=beta)
        for i, (digits, operators, layers, beta) in enumerate(table, start=1)
    }


def stress_recipes() -> dict[str, Recipe]:
    """The same circuits with one difficulty each."""
    both = "+-"
    found = [
        Recipe(digits, both, 3, beta=240.0 if stressor == 2 else 24.0, stressor=stressor)
        for stressor in (1, 2, 3, 5, 7)
        for digits in (2, 3)
    ]
    found += [Recipe(3, both, 3, stressor=4), Recipe(5, both, 4, stressor=4)]
    found += [
        Recipe(digits, both, layers, variant=variant, stressor=6)
        for variant, digits, layers in (("B", 3, 4), ("C", 3, 3), ("D", 3, 3), ("E", 2, 3))
    ]
    return {f"toy-a-stress-{i}": recipe for i, recipe in enumerate(found, start=1)}


TWISTS = {
    0: "",
    1: ", with a constant writer",
    2: ", with saturated attention",
    3: ", with a majority of three carry heads",
    4: ", with a rarely needed carry head",
    5: ", with a cancelling pair of heads",
    6: ", with another algorithm",
    7: ", with a gated decoy",
}
"""Difficulty of each stressor, in words."""


def describe(recipe: Recipe) -> str:
    """One sentence about a compiled circuit."""
    work = "Adds and subtracts" if recipe.subtracts else "Adds"
    twist = TWISTS[recipe.stressor]
    return (
        f"{work} {recipe.n_digits}-digit numbers; compiled, variant {recipe.variant}{twist}, {recipe.n_layers} layers "
        f"of {recipe.n_heads} heads."
    )


COMPILED: tuple[CompiledSource, ...] = tuple(
    CompiledSource(name, recipe, describe(recipe)) for name, recipe in {**base_recipes(), **stress_recipes()}.items()
)
SOURCES: tuple[CompiledSource | TrainedSource, ...] = (*COMPILED, *TRAINED)
