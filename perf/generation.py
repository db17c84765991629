"""How fast every task draws pairs, kind by kind, against the budget of 10,000 pairs in 20 seconds on one core.

    python perf/generation.py [--pairs 10000] [--tokenizer smollm2] [--tasks addition three-operands ...]

Prints a Markdown table. A row is one call of a task's `pairs` for the test split, in processor seconds, with everything
that is remembered between draws forgotten before it. A grid that has fewer pairs is drawn to its end: `pairs` is then its
size, and the note says so. Exit code 1 where a draw took longer than the budget.
"""

import argparse
import dataclasses
import gc
import sys
import time
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from arithloc.benchmark.api import ArithlocError, Split
from arithloc.benchmark.api.options import build
from arithloc.benchmark.api.registry import Plugin, tasks
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks.toy.kinds import KINDS as TOY_KINDS
from arithloc.tasks.toy.models import COMPILED

BUDGET_S = 20.0
WIDE: dict[str, tuple[dict[str, str], ...]] = {
    "addition": ({"digits": "d2", "frames": "all"}, {"digits": "d3", "frames": "z-infix", "shots": "2"}),
    "subtraction": ({"digits": "d2", "frames": "all"}, {"digits": "d3", "frames": "z-infix", "shots": "2"}),
    "multiplication": ({"digits": "d2", "frames": "all"}, {"digits": "d3", "frames": "F5"}),
    "division": ({"digits": "n300", "frames": "F0+F1+F2+F5"},),
    "modulo": ({"digits": "d2", "frames": "F1+F5"},),
    "copying": ({"digits": "d2"},),
    "comparison": ({"digits": "d2"},),
    "comparison-yes-no": ({"digits": "d2"},),
    "retrieval": ({"digits": "d2"},),
    "three-operands": ({}, {"digits": "single-digit"}),
}
"""Options with which a task has many pairs; a task that is not named is drawn with its defaults."""


def kinds(cls: type) -> list[str]:
    """Every value of a task's option `kind`; an empty text for a task without one."""
    hint = typing.get_type_hints(cls).get("kind")
    if hint is str:
        return list(TOY_KINDS)
    return [str(member.value) for member in hint] if isinstance(hint, type) and issubclass(hint, Enum) else [""]


def variants(plugin: Plugin) -> Iterator[tuple[str, Any]]:
    """Tasks to measure with what they are called; kinds and frames that do not go together are left out."""
    for options in WIDE.get(plugin.name, ({},)):
        for kind in kinds(plugin.target):
            chosen = {**options, "kind": kind} if kind else options
            if kind == "operator_null" and "frames" in chosen:
                chosen["frames"] = "z-infix"
            try:
                task = build(plugin.target, plugin.name, chosen)
            except ArithlocError:
                continue
            shown = ",".join(f"{key}={value}" for key, value in chosen.items())
            yield f"{plugin.name}[{shown}]" if shown else plugin.name, task


def forget() -> None:
    """Empties what functions of the tasks remember."""
    for name, module in list(sys.modules.items()):
        if name.startswith("arithloc.tasks"):
            for member in list(vars(module).values()):
                if hasattr(member, "cache_clear"):
                    member.cache_clear()
    gc.collect()


def measure(task: Any, tokenizer: Any, n: int) -> tuple[int | str, float]:
    """Number of pairs, or the name of the error where there are none, and processor seconds."""
    forget()
    start = time.process_time()
    found: int | str
    try:
        found = len(task.pairs(tokenizer, Split.TEST, n, 0))
    except ArithlocError as error:
        found = type(error).__name__
    return found, time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--tokenizer", default="smollm2", help="packaged model or folder")
    parser.add_argument("--tasks", nargs="*", help="names; all without")
    arguments = parser.parse_args()
    folder = default_cache() / "models" / arguments.tokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder if folder.is_dir() else Path(arguments.tokenizer))
    toy = AutoTokenizer.from_pretrained(COMPILED[-1].folder(default_cache()))
    late = 0
    print(f"Budget: {arguments.pairs:,} pairs in {BUDGET_S:g} s of one core.\n")
    print("| task and options | pairs | s | pairs/s | note |\n|---|---:|---:|---:|---|")
    for plugin in tasks.all():
        if not isinstance(plugin, Plugin) or (arguments.tasks and plugin.name not in arguments.tasks):
            continue
        is_toy = dataclasses.is_dataclass(plugin.target) and plugin.target.info.family == "toy"
        for name, task in variants(plugin):
            found, seconds = measure(task, toy if is_toy else tokenizer, arguments.pairs)
            rate, note = f"{found / seconds:,.0f}" if isinstance(found, int) else "-", ""
            if isinstance(found, int) and found < arguments.pairs:
                note = "all that the test split has"
            elif isinstance(found, str):
                note = f"refused: {found}"
            count = f"{found:,}" if isinstance(found, int) else "0"
            print(f"| `{name}` | {count} | {seconds:.2f} | {rate} | {note} |", flush=True)
            late += seconds > BUDGET_S * max(arguments.pairs / 10_000, 1)
    print(f"\n{late} draws over {BUDGET_S:g} s.")
    return int(late > 0)


if __name__ == "__main__":
    sys.exit(main())
