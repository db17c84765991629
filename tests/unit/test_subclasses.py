"""The last token of an operand can be named, whatever the number of its tokens."""

from dataclasses import replace

from support.random_pairs import random_pairs

from arithloc.benchmark.api import data_hash
from arithloc.benchmark.engine.positions import selected


def test_the_last_token_of_each_operand_has_a_sub_class():
    (pair,) = random_pairs(40, [8])  # early, three tokens of operand 1, operator, operand 2, late, last
    assert pair.subclasses == ("", "", "", "operand1_last", "", "operand2_last", "", "")
    assert selected(pair, "operand1") == (1, 2, 3) and selected(pair, "operand1_last") == (3,)
    assert selected(pair, "operand2_last") == (5,) and selected(pair, "operand3_last") == ()


def test_sub_classes_are_derived_and_change_no_hash():
    (pair,) = random_pairs(40, [8])
    assert data_hash([pair]) == data_hash([replace(pair)]) and "subclasses" not in type(pair).__dataclass_fields__
