# ruff: noqa: T201 (a command that prints)
"""Checks thousands of pairs of every family, kind and tokenizer with parsers that share no code with the tasks.

    make check-tasks                        # or, for some of it:
    python tests/check_tasks.py --pairs 500 --tasks addition gender --tokenizers gpt2 llama3

Each prompt is decoded from its tokens and its answer worked out anew: arithmetic in digits and words, three operands,
comparison, modulo, yes and no, retrieval, recall, professions, ontologies, toys. Combinations that a tokenizer cannot
express are counted as refused. Exit code 1, and the pair, where a check fails.
"""

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from support import control_tokenizers, number_tokenizers, word_tokenizers
from support.control_checks import check_fact, check_gender, check_retrieval
from support.ontology_checks import check_ontology_pair
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens
from support.triple_checks import check_triples

from arithloc.benchmark.api import ArithlocError, PromptPair, Split
from arithloc.benchmark.api.options import build
from arithloc.benchmark.api.registry import Plugin, tasks

ARITHMETIC = ("addition", "subtraction", "multiplication", "division", "modulo")
SELECTION = ("copying", "comparison", "comparison-yes-no")
KINDS = (
    "operands", "single_operand", "carry_flip", "carry_flip_iso", "operator_swap", "selector_swap", "operator_null",
    "same_answer", "same_answer_other_op", "order_swap",
)  # fmt: skip
RANGES = ("d1", "d2", "d3", "d2d1", "n300", "single-digit", "d1-by", "words")
STEPS = ("decision-0", "copy-1", "decision-2", "copy-3", "decision-4", "induction-5", "copy-7", "induction-9")


class Toy:
    """What the toy task asks of a tokenizer."""

    name_or_path = "toy"
    init_kwargs: dict[str, Any] = {"n_digits": 2, "operators": "+-", "bos": True}  # noqa: RUF012

    def __len__(self) -> int:
        from arithloc.tasks.toy.formats import VOCAB

        return len(VOCAB)


def check_two(tokenizer: Any, pair: PromptPair) -> None:
    """Two operands, of arithmetic or of a choice."""
    check_edits(pair)
    check_splits(pair, *check_arithmetic(tokenizer, pair))


def check_toy(tokenizer: Any, pair: PromptPair) -> None:
    """Both answers of a toy pair, digit by digit."""
    for text, answer in ((pair.clean, pair.answer), (pair.counterfactual, pair.answer_cf)):
        sign = "-" if "-" in text else "+"
        x, y = (int(number) for number in text.rstrip("=").split(sign))
        value = x - y if sign == "-" else x + y
        assert answer == f"{'-' if value < 0 else '+'}{abs(value):03d}"


def options(name: str) -> Iterator[tuple[dict[str, str], Callable[[Any, PromptPair], None]]]:
    """Options of a family to check, and its check."""
    if name in ARITHMETIC:
        for digits in RANGES:
            frames = "words" if digits == "words" else "F0+F1+F5" if name == "modulo" else "all+z-infix"
            for kind in KINDS:
                infix = "Y1+Y2" if digits == "words" else "F1+F5" if name == "modulo" else "z-infix"
                chosen = infix if kind == "operator_null" else frames
                yield {"digits": digits, "frames": chosen, "kind": kind, "shots": "1"}, check_two
    elif name in SELECTION:
        for digits in RANGES:
            for kind in KINDS:
                yield {"digits": digits, "kind": kind}, check_two
    elif name == "three-operands":
        for digits in RANGES:
            for kind in KINDS:
                yield {"digits": digits, "kind": kind}, check_triples
                original = {"digits": digits, "kind": kind, "expressions": "original"}
                yield original, lambda tokenizer, pair: check_triples(tokenizer, pair, original=True) and None
    elif name == "retrieval":
        for kind in ("entity_swap", "operands"):
            yield {"digits": "d2", "kind": kind}, check_retrieval
            yield {"digits": "d1", "kind": kind}, check_retrieval
    elif name == "factual":
        yield {}, check_fact
    elif name == "gender":
        yield {}, lambda tokenizer, pair: check_gender(tokenizer, pair)
    elif name == "ontology-cot":
        for step in STEPS:
            for world in ("fictional", "false", "true"):
                for kind in ("consistent", "question", "chain", "control"):
                    yield (
                        {"step": step, "world": world, "kind": kind, "distractors": "2", "shots": "1"},
                        check_ontology_pair,
                    )
    elif name == "toy-arith":
        for kind in ("operands", "operator_swap", "single_operand", "carry_flip_iso", "column"):
            yield {"kind": kind}, check_toy


def tokenizers(name: str, wanted: list[str]) -> list[tuple[str, Any]]:
    """The tokenizers that a family is checked with."""
    if name == "toy-arith":
        return [("toy", Toy())]
    if name == "ontology-cot":
        source = word_tokenizers
    elif name in ARITHMETIC:
        source = number_tokenizers
    else:
        source = control_tokenizers
    return [(known, source.build(known)) for known in source.NAMES if not wanted or known in wanted]


def check(plugin: Plugin, n: int, wanted: list[str]) -> tuple[int, int]:
    """Pairs checked and combinations refused of one family."""
    checked = refused = 0
    for tokenizer_name, tokenizer in tokenizers(plugin.name, wanted):
        for (chosen, check_pair), split in zip(options(plugin.name), itertools.cycle(Split), strict=False):
            try:
                pairs = build(plugin.target, plugin.name, chosen).pairs(tokenizer, split, n, 1)
            except ArithlocError:
                refused += 1
                continue
            for pair in pairs:
                try:
                    if plugin.name not in ("toy-arith", "ontology-cot"):
                        check_tokens(tokenizer, pair)
                    check_pair(tokenizer, pair)
                except Exception:
                    print(f"{plugin.name} {chosen} {tokenizer_name}: {dataclasses.asdict(pair)}")
                    raise
            checked += len(pairs)
    return checked, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100, help="pairs of each combination; the splits take turns")
    parser.add_argument("--tasks", nargs="*", default=[], help="names; all without")
    parser.add_argument("--tokenizers", nargs="*", default=[], help="names; all without")
    arguments = parser.parse_args()
    print(f"{'task':<22}{'pairs':>10}{'refused':>10}{'s':>8}")
    for plugin in tasks.all():
        if isinstance(plugin, Plugin) and (not arguments.tasks or plugin.name in arguments.tasks):
            start = time.process_time()
            checked, refused = check(plugin, arguments.pairs, arguments.tokenizers)
            print(f"{plugin.name:<22}{checked:>10}{refused:>10}{time.process_time() - start:>8.0f}", flush=True)
            if not checked:
                print(f"{plugin.name}: nothing was checked")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
