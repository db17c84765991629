"""Truth documents as files."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_text(document: Mapping[str, Any]) -> str:
    """A document as JSON with one line per key, and one per entry of a list of objects."""
    lines = []
    for key, value in document.items():
        rows = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
        if rows:
            body = (
                "[\n  " + ",\n  ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in value) + "\n ]"
            )
        else:
            body = json.dumps(value, ensure_ascii=False, allow_nan=False)
        lines.append(f" {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def proven(document: Mapping[str, Any]) -> bool:
    """Whether every check of a document passed."""
    return all(certificate["passed"] for certificate in document["certificates"])


def write_document(document: Mapping[str, Any], folder: Path) -> Path:
    """Writes `<id>.json`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{document['id']}.json"
    building = target.with_suffix(".json.part")
    building.write_text(as_text(document), encoding="utf-8")
    return building.replace(target)


def commit_of(folder: Path) -> str:
    """Commit of the checkout that holds `folder`, empty outside one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]  # fixed command, no input from outside
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""
