"""Trains toy models, proves their circuits, and ships both: `python -m arithloc.tasks.toy.train NAME...`."""

import argparse
import datetime
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy import ndarray
from safetensors.numpy import load_file, save_file

from arithloc.tasks.toy.certify import commit_of, proven, write_document
from arithloc.tasks.toy.export import write_folder
from arithloc.tasks.toy.natural import TrainingRecipe, config_of, train
from arithloc.tasks.toy.natural_audit import NaturalAudit, NaturalPlan
from arithloc.tasks.toy.plans import TRAINED_FULL
from arithloc.tasks.toy.shipped import TRUTH_FOLDER, WEIGHTS_FOLDER
from arithloc.tasks.toy.siit_audit import SiitAudit
from arithloc.tasks.toy.siit_recipe import SiitRecipe
from arithloc.tasks.toy.trained_models import trained_recipes
from arithloc.tasks.toy.truth import provenance

Weights = dict[str, Float[ndarray, "..."]]
EARLY_SUFFIX = ".early.safetensors"


def say(text: str) -> None:
    """Progress for a person."""
    sys.stderr.write(text + "\n")


def train_to(recipe: TrainingRecipe, name: str, device: str, kept: Path) -> None:
    """Trains a model into `kept / NAME.safetensors`, an interchange-trained one also at a tenth of its training."""
    kept.mkdir(parents=True, exist_ok=True)
    if isinstance(recipe, SiitRecipe):
        # imported here: only training needs torch
        from arithloc.tasks.toy.siit import train_siit

        interchanged = train_siit(recipe, device, verbose=True)
        save_file(interchanged.early, kept / f"{name}{EARLY_SUFFIX}")
        weights, seconds = interchanged.weights, interchanged.seconds
        say(f"kept the model after {interchanged.chosen} steps")
    else:
        trained = train(recipe, device, verbose=True)
        weights, seconds = trained.weights, trained.seconds
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_folder(weights, config_of(recipe), recipe.format, Path(temporary) / name)
        shutil.copyfile(folder / "model.safetensors", kept / f"{name}.safetensors")
    say(f"trained in {seconds / 60:.1f} minutes of processor time")


def prove(recipe: TrainingRecipe, name: str, kept: Path) -> dict[str, Any]:
    """The truth document of trained weights, without provenance."""
    with tempfile.TemporaryDirectory() as temporary:
        stored: Weights = load_file(kept / f"{name}.safetensors")
        folder = write_folder(stored, config_of(recipe), recipe.format, Path(temporary) / name)
        if isinstance(recipe, SiitRecipe):
            young = kept / f"{name}{EARLY_SUFFIX}"
            early = load_file(young) if young.is_file() else None
            return SiitAudit(name, recipe, folder, TRAINED_FULL, report=say, early=early).run()
        return NaturalAudit(name, recipe, folder, NaturalPlan(), report=say).run()


def ship(name: str, recipe: TrainingRecipe, kept: Path, device: str, out: Path) -> bool:
    """Trains and audits one model; True if it passed, and only then it is shipped."""
    if not (kept / f"{name}.safetensors").is_file():
        train_to(recipe, name, device, kept)
    document = prove(recipe, name, kept)
    if not proven(document):
        say(f"{name} is not shipped: a check failed")
        return False
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document["provenance"] = provenance(created, commit_of(Path(__file__).parent))
    (out / WEIGHTS_FOLDER).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept / f"{name}.safetensors", out / WEIGHTS_FOLDER / f"{name}.safetensors")
    write_document(document, out / TRUTH_FOLDER)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and audits; 1 if a check of a model failed."""
    recipes = trained_recipes()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(recipes), metavar="NAME", help=", ".join(sorted(recipes)))
    parser.add_argument("--kept", type=Path, help="folder for trained weights; what lies there is not trained again")
    parser.add_argument("--device", default="cpu", help="torch device of the training")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="receives weights/ and circuits/")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        kept = given.kept or Path(temporary)
        passed = [ship(name, recipes[name], kept, given.device, given.out) for name in given.names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
