"""Writes the truth documents of the compiled circuits: `python -m arithloc.tasks.toy.certify [NAME ...]`."""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arithloc.tasks.toy.audit import audit, truth_document
from arithloc.tasks.toy.models import COMPILED, TRUTH_FOLDER
from arithloc.tasks.toy.plans import FULL, QUICK


def as_text(document: dict[str, Any]) -> str:
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


def commit_of(folder: Path) -> str:
    """Commit of the checkout that holds `folder`, empty outside one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]  # fixed command, no input from outside
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Audits circuits and writes their documents; 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="circuits; all by default")
    parser.add_argument("--quick", action="store_true", help="measure on few questions")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / TRUTH_FOLDER, help="folder of the documents"
    )
    given = parser.parse_args(arguments)
    known = {source.name: source.recipe for source in COMPILED}
    failed = 0
    for name in given.names or known:
        if name not in known:
            parser.error(f"no circuit is called {name!r}; known: {', '.join(known)}")
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            done = audit(name, known[name], Path(folder) / name, QUICK if given.quick else FULL)
        created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = truth_document(done, created, commit_of(Path(__file__).parent))
        seconds = time.perf_counter() - start
        broken = [f"{c.check} {c.name} (measured {c.value})" for c in done.certificates if not c.passed]
        sys.stderr.write(f"{name}: {'failed: ' + ', '.join(broken) if broken else 'passed'} in {seconds:.0f} s\n")
        if broken:
            failed += 1
            continue
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{name}.json").write_text(as_text(document), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
