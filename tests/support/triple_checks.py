"""Checks of three-operand pairs that share no code with the generator: wording to fraction, one entry for each."""

import re
from fractions import Fraction

from support.pair_checks import NUMBER_WORDS, membership, numbers, query_text, value

from arithloc.benchmark.api import PromptPair

F = Fraction
READ = {
    "Sum # and # and multiply by #": ("(x+y)*z", lambda x, y, z: F(x + y) * z),
    "What is the sum of # and the product of # and #?": ("x+y*z", lambda x, y, z: F(x) + y * z),
    "What is the product of # minus # and #?": ("(x-y)*z", lambda x, y, z: F(x - y) * z),
    "How much is # divided by the ratio between # and #?": ("x/(y/z)", lambda x, y, z: x / F(y, z)),
    "What is the difference between # and the product of # and #?": ("x-y*z", lambda x, y, z: F(x) - y * z),
    "How much is # times the difference between # and #?": ("x*(y-z)", lambda x, y, z: F(x) * (y - z)),
    "What is the ratio between # plus # and #?": ("(x+y)/z", lambda x, y, z: F(x + y, z)),
    "How much is # minus the difference between # and #?": ("x-(y-z)", lambda x, y, z: F(x) - (y - z)),
    "What is the ratio between # minus # and #?": ("(x-y)/z", lambda x, y, z: F(x - y, z)),
    "What is the difference between # and the ratio between # and #?": ("x-y/z", lambda x, y, z: x - F(y, z)),
    "How much is # divided by the sum of # and #?": ("x/(y+z)", lambda x, y, z: F(x, y + z)),
    "How much is # divided by the difference between # and #?": ("x/(y-z)", lambda x, y, z: F(x, y - z)),
    "What is the sum of # and the ratio between # and #?": ("x+y/z", lambda x, y, z: x + F(y, z)),
    "How much is # times the ratio between # and #?": ("x*(y/z)", lambda x, y, z: x * F(y, z)),
    "How much is the sum of # times # and #?": ("x*y+z", lambda x, y, z: F(x) * y + z),
    "How much is # times the sum of # and #?": ("x*(y+z)", lambda x, y, z: F(x) * (y + z)),
    "How much is the sum of # divided by # and #?": ("x/y+z", lambda x, y, z: F(x, y) + z),
    "How much is # divided by # divided by #?": ("x/y/z", lambda x, y, z: F(x, y) / z),
    "How much is the difference between # divided by # and #?": ("x/y-z", lambda x, y, z: F(x, y) - z),
    "How much is # divided by # times #?": ("x/y*z", lambda x, y, z: F(x, y) * z),
    "How much is # minus the sum of # and #?": ("x-(y+z)", lambda x, y, z: F(x) - (y + z)),
    "How much is the difference between # times # and #?": ("x*y-z", lambda x, y, z: F(x) * y - z),
    "How much is # divided by the product of # and #?": ("x/(y*z)", lambda x, y, z: F(x, y * z)),
    "How much is # minus # plus #?": ("x-y+z", lambda x, y, z: F(x) - y + z),
    "How much is # plus # plus #?": ("x+y+z", lambda x, y, z: F(x) + y + z),
    "How much is # minus # minus #?": ("x-y-z", lambda x, y, z: F(x) - y - z),
    "How much is # times # divided by #?": ("x*y/z", lambda x, y, z: F(x * y, z)),
    "How much is # plus # minus #?": ("x+y-z", lambda x, y, z: F(x) + y - z),
    "How much is # times # times #?": ("x*y*z", lambda x, y, z: F(x) * y * z),
}
ORDER = ("early", "operand1", "between1", "operand2", "between2", "operand3", "late", "last")


def check_triples(tokenizer, pair: PromptPair, original: bool = False, seed: int = 0) -> list[list[int]]:
    """Answers, classes of the operands and the kind's relation, from the decoded tokens; returns both triples."""
    found = []
    for ids, answer in ((pair.clean_ids, pair.answer), (pair.counterfactual_ids, pair.answer_cf)):
        text = query_text(tokenizer, pair, ids).strip()
        body = text if original else text.removeprefix("Q: ").removesuffix(" A:")
        assert body == text if original else len(body) == len(text) - 6
        operands = numbers(body)
        assert len(operands) == 3
        wording = re.sub(r"\d+|\b(" + "|".join(NUMBER_WORDS) + r")\b", "#", body)
        if original:
            wording = wording.replace("divided bu", "divided by").replace("what is", "What is")
        expression, compute = READ[wording]
        assert expression == pair.operator
        if ids is pair.clean_ids or pair.kind != "same_answer":
            assert compute(*operands) == value(answer)
        else:
            assert compute(*operands) == value(pair.answer) and pair.answer_cf_is_foil
        for place, number in enumerate(operands, 1):
            spelled = [i for i, cls in zip(ids, pair.classes, strict=True) if cls == f"operand{place}"]
            shown = tokenizer.decode(spelled, clean_up_tokenization_spaces=False).strip()
            assert NUMBER_WORDS.get(shown, shown) in (number, str(number))
        assert membership(seed, *sorted(operands)) is pair.split
        found.append(operands)
    places = [ORDER.index(cls) for cls in pair.classes if cls in ORDER]
    assert places == sorted(places) and set(range(1, 6)) <= set(places)
    assert set(pair.classes) <= {*ORDER, "shot", "bos", "answer"}
    clean, other = found
    differ = [i for i in range(3) if clean[i] != other[i]]
    tags = dict(pair.strata)
    if pair.kind == "single_operand":
        assert differ == [int(tags["edited_operand"]) - 1]
    else:
        assert sorted(clean) != sorted(other)
        assert pair.kind == "same_answer" or differ == [0, 1, 2]
    edited = {f"operand{i + 1}" for i in differ}
    n_prompt = pair.n_tokens - pair.first_diff
    rows = zip(pair.clean_ids, pair.counterfactual_ids, pair.classes, range(n_prompt), strict=False)
    assert {cls for a, b, cls, _ in rows if a != b} == edited
    assert pair.answer != pair.answer_cf and pair.cluster == ",".join(map(str, sorted(clean)))
    return found
