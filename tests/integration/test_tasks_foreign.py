"""A tokenizer that has no token for some character of a prompt is refused by name."""

import pytest
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split, TokenizerMismatch
from arithloc.tasks.arith2 import Addition
from arithloc.tasks.toy.models import COMPILED


@pytest.mark.parametrize("frame", ["F5", "F1", "F4"])
def test_a_toy_model_cannot_read_words_and_spaces(frame, tmp_path):
    toy = AutoTokenizer.from_pretrained(COMPILED[0].folder(tmp_path))
    with pytest.raises(TokenizerMismatch, match=r"Expected a tokenizer that has tokens for .* Use a task") as refused:
        Addition(frames=(frame,)).pairs(toy, Split.TEST, 4, 0)
    assert "UNK" in str(refused.value)
