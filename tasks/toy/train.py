"""Trains a natural model, finds its closure, and ships both: `python -m arithloc.tasks.toy.train NAME`."""

import argparse
import datetime
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from arithloc.tasks.toy.certify import commit_of, write_document
from arithloc.tasks.toy.export import write_folder
from arithloc.tasks.toy.models import TRUTH_FOLDER, WEIGHTS_FOLDER, natural_recipes
from arithloc.tasks.toy.natural import train
from arithloc.tasks.toy.natural_audit import NaturalAudit, NaturalPlan
from arithloc.tasks.toy.truth import provenance


def say(text: str) -> None:
    """Progress for a person."""
    sys.stderr.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and audits; 1 if a check failed, and then the truth document is not written."""
    here = Path(__file__).parent
    recipes = natural_recipes()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(recipes))
    parser.add_argument("--weights", type=Path, help="audit these weights (a model folder) instead of training")
    parser.add_argument("--device", default="cpu", help="torch device of the training")
    parser.add_argument("--out", type=Path, default=here, help="receives weights/ and circuits/")
    parser.add_argument("--final", type=int, help="questions of the final joint test; all by default (3 digits)")
    given = parser.parse_args(arguments)
    recipe = recipes[given.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.weights
        if folder is None:
            trained = train(recipe, given.device, verbose=True)
            say(f"trained in {trained.seconds:.0f} s")
            folder = write_folder(trained.weights, trained.config, recipe.format, Path(temporary) / given.name)
        weights = given.out / WEIGHTS_FOLDER / f"{given.name}.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "model.safetensors", weights)
        done = NaturalAudit(given.name, recipe, folder, NaturalPlan(final=given.final), say)
        document = done.run()
    if not all(certificate.passed for certificate in done.certificates):
        return 1
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document["provenance"] = provenance(created, commit_of(here))
    write_document(document, given.out / TRUTH_FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
