"""Pairs for the packaged models' own tokenizers: what is decoded is what was asked."""

import pytest
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks.arith2 import Addition, Subtraction
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def smollm2():
    return AutoTokenizer.from_pretrained(default_cache() / "models" / "smollm2")


def test_every_pair_decodes_to_its_question(smollm2):
    for task in (
        Addition(shots=0, frames=("all", "Y3")),
        Subtraction(digits=Range.D2, frames=("z",), kind=Kind.SINGLE_OPERAND),
        Addition(digits=Range.D2, kind=Kind.CARRY_FLIP),
        Subtraction(kind=Kind.SAME_ANSWER, frames=("F0", "F5")),
    ):
        pairs = task.pairs(smollm2, Split.TEST, 60, 0)
        for pair in pairs:
            check_tokens(smollm2, pair)
            check_edits(pair)
            check_splits(pair, *check_arithmetic(smollm2, pair))
            assert smollm2.convert_ids_to_tokens(pair.clean_ids[0]) == "<|endoftext|>"


def test_tokens_and_classes_of_a_chat_with_an_exemplar(smollm2):
    pairs = Addition(chat=True, shots=1, frames=("C0",)).pairs(smollm2, Split.TEST, 20, 0)
    pair = next(pair for pair in pairs if pair.first_diff == 0)
    shown = [smollm2.decode(i) for i in pair.clean_ids]
    start = pair.classes.index("early")
    assert set(pair.classes[:start]) == {"shot"}
    x, y = (int(shown[pair.classes.index(c)]) for c in ("operand1", "operand2"))
    assert x + y == int(pair.answer)
    assert list(zip(shown[start:], pair.classes[start:], strict=True)) == [
        ("Calculate", "early"),
        (" ", "early"),
        (str(x), "operand1"),
        (" +", "operator"),
        (" ", "middle"),
        (str(y), "operand2"),
        (".", "late"),
        ("<|im_end|>", "late"),
        ("\n", "late"),
        ("<|im_start|>", "late"),
        ("ass", "late"),
        ("istant", "late"),
        ("\n", "late"),
        ("=", "late"),
        (" ", "last"),
    ]
