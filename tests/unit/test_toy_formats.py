"""Vocabulary, positions and tokenizer documents of the toy models."""

import pytest
from tokenizers import Tokenizer

from arithloc.benchmark.api import TokenizerMismatch
from arithloc.tasks.toy.formats import BOS, VOCAB, Format, encode, tokenizer_documents


def test_vocabulary_has_the_ids_of_the_published_models():
    assert VOCAB.index("0") == 0 and VOCAB.index("9") == 9
    assert [VOCAB.index(t) for t in ("+", "-", "=", "*", "/", "<bos>")] == [10, 11, 12, 13, 14, 15]


def test_classes_of_two_digit_questions_by_hand():
    assert Format(2, "+-", bos=True).classes == ("bos", "x1", "x0", "op", "y1", "y0", "eq", "sign", "a2", "a1")
    assert Format(2, "+", bos=False).scored == ("eq", "sign", "a2", "a1")


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("n", range(2, 11))
def test_positions_follow_the_index_formulas(n, bos):
    form, b = Format(n, "+-", bos), int(bos)
    assert len(form.classes) == form.n_inputs == 3 * n + 3 + b
    for j in range(n):
        assert form.index(f"x{j}") == b + n - 1 - j
        assert form.index(f"y{j}") == b + 2 * n - j
    assert (form.index("op"), form.index("eq"), form.index("sign")) == (b + n, b + 2 * n + 1, b + 2 * n + 2)
    for i in range(1, n + 1):
        assert form.index(f"a{i}") == b + 3 * n + 3 - i
    # digit i is predicted one position before its own token, which would stand at b + 3n + 3 - i
    assert [form.index(form.predictor(i)) for i in range(n + 1)] == [b + 3 * n + 2 - i for i in range(n + 1)]


@pytest.mark.parametrize("bos", [True, False])
def test_tokenizer_round_trip(bos):
    import json

    form = Format(3, "+-", bos)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_documents(form)["tokenizer.json"]))
    text = "123-045=+0078"
    ids = tokenizer.encode(text).ids
    assert ids == [BOS] * bos + list(encode(text))
    assert tokenizer.decode(ids) == text


def test_foreign_character_is_refused():
    with pytest.raises(TokenizerMismatch, match="'a'"):
        encode("12a3")


def test_other_tokenizers_are_refused():
    class Other:
        name_or_path = "gpt2"

        def __init__(self):
            self.init_kwargs = {"n_digits": 2, "operators": "+"}

        def __len__(self):
            return 16

    with pytest.raises(TokenizerMismatch, match="gpt2"):
        Format.of_tokenizer(Other())


def test_impossible_formats_are_refused():
    with pytest.raises(ValueError, match="operators"):
        Format(2, "*", bos=True)
    with pytest.raises(ValueError, match="digits"):
        Format(11, "+", bos=True)
