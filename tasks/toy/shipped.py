"""Files that the package ships for its toy models: truth documents and the weights of trained models."""

import json
from importlib.resources import files
from typing import Any

PACKAGE = "arithloc.tasks.toy"
TRUTH_FOLDER = "circuits"
WEIGHTS_FOLDER = "weights"


def has_truth(name: str) -> bool:
    """Whether a truth document of that name is shipped."""
    return (files(PACKAGE) / TRUTH_FOLDER / f"{name}.json").is_file()


def read_truth(name: str) -> dict[str, Any]:
    """A shipped truth document."""
    text = (files(PACKAGE) / TRUTH_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def read_weights(name: str) -> bytes:
    """The weights of a shipped trained model: a safetensors file."""
    return (files(PACKAGE) / WEIGHTS_FOLDER / f"{name}.safetensors").read_bytes()
