"""The independent reader of questions and answers: numbers in words, three operands, yes and no."""

import pytest

from arithloc.tasks.numerals import ONE_WORD, in_words
from arithloc.tasks.truth import agrees, evaluate, read


def test_number_words_come_back():
    """0..999: all different, and the reader, which shares no table with the writer, reads what was written."""
    texts = [in_words(n) for n in range(1000)]
    assert len(set(texts)) == 1000
    assert [read(text) for text in texts] == list(range(1000))


def test_number_words_by_hand():
    assert [in_words(n) for n in (0, 7, 12, 20, 21, 40, 99, 100, 101, 220, 999)] == [
        "zero", "seven", "twelve", "twenty", "twenty one", "forty", "ninety nine", "one hundred",
        "one hundred one", "two hundred twenty", "nine hundred ninety nine",
    ]  # fmt: skip
    assert [n for n in range(1000) if " " not in in_words(n)] == list(ONE_WORD)
    for n in (-1, 1000):
        with pytest.raises(ValueError, match="from 0 to 999"):
            in_words(n)


def test_what_is_no_answer_is_not_read():
    assert [read(text) for text in ("", "maybe", "yes", "3.5", "hundred", "- 3")] == [None] * 6
    assert (read("-3"), read("No"), read("Yes")) == (-3, False, True)


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("Q: Is 7 greater than 5? A:", True),
        ("Is five greater than seven?", False),
        ("Is 5 greater than 5?", None),
        ("Q: How much is twenty minus thirteen? A:", 7),
        ("The ratio of ninety and thirty is", 3),
        ("Sum 2 and 3 and multiply by 4", 20),
        ("What is the sum of 2 and the product of 3 and 4?", 14),
        ("What is the product of 9 minus 2 and 3?", 21),
        ("How much is 24 divided by the ratio between 12 and 4?", 8),
        ("How much is 24 divided by 12 divided by 2?", 1),
        ("How much is 24 divided by 3 times 2?", 16),
        ("How much is 9 minus 2 plus 3?", 10),
        ("How much is 9 minus the difference between 5 and 2?", 6),
        ("How much is 24 divided by the ratio between 3 and 2?", None),  # 3 / 2 is no whole number
        ("How much is 24 divided by the difference between 3 and 3?", None),
        ("How much is 2 plus 3 times 4?", None),  # which comes first is not said
    ],
)
def test_values_by_hand(question, value):
    found = evaluate(question)
    assert found == value and type(found) is type(value)


def test_an_answer_is_of_the_kind_that_was_asked_for():
    assert agrees("Is 7 greater than 5?", "Yes") and agrees("6 - 5 =", "1") and agrees("six minus five is", "one")
    assert not agrees("Is 7 greater than 5?", "1") and not agrees("6 - 5 =", "Yes") and not agrees("6 < 5 =", "")
