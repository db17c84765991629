"""No pair is drawn twice, and none with its prompts exchanged, in any family; whatever number is asked for."""

import pytest
from support import control_tokenizers, word_tokenizers

from arithloc.benchmark.api import Split
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import tasks
from arithloc.benchmark.runner.choices import instantiate

# options that leave so few prompts that pairs meet their mirrors; every family of prompts
SMALL = (
    "addition",
    "addition[kind=order_swap,frames=F0+F5]",
    "addition[kind=same_answer]",
    "subtraction[kind=single_operand]",
    "multiplication[score_digit=all]",
    "division",
    "modulo[kind=same_answer]",
    "comparison[kind=order_swap]",
    "comparison-yes-no[kind=order_swap]",
    "copying[kind=single_operand]",
    "three-operands[expressions=T24,digits=words]",
    "retrieval[frames=R0,kind=operands]",
    "factual[relations=continent,frames=F4]",
    "gender",
)


def asked(pair):
    """Both prompts; for prompts with several answers, those too."""
    if pair.task == "gender":
        return (pair.clean, pair.answer), (pair.counterfactual, pair.answer_cf)
    return (pair.clean, ""), (pair.counterfactual, "")


def check(task, tokenizer, n):
    drawn = {size: task.pairs(tokenizer, Split.DISCOVERY, size, 3) for size in (n // 5, n)}
    assert list(drawn[n // 5]) == list(drawn[n])[: n // 5]
    scored = [(*asked(pair), pair.first_diff) for pair in drawn[n]]
    assert len(scored) == len(set(scored)) > 10
    assert not {(other, clean, at) for clean, other, at in scored} & set(scored)


@pytest.mark.parametrize("text", SMALL)
def test_no_pair_comes_twice_or_exchanged(text):
    check(instantiate(tasks, Reference.parse(text))[1], control_tokenizers.build("gpt2"), 400)


def test_no_chain_of_thought_comes_twice_or_exchanged():
    _, task = instantiate(tasks, Reference.parse("ontology-cot[hops=1,step=decision-0,shots=0]"))
    check(task, word_tokenizers.build("gpt2"), 200)


def test_mirrors_are_what_small_grids_would_give():
    """All pairs of exchanged operands are drawn, each in one of its two directions."""
    _, task = instantiate(tasks, Reference.parse("addition[kind=order_swap]"))
    pairs = task.pairs(control_tokenizers.build("gpt2"), Split.DISCOVERY, 1000, 0)
    assert len({pair.cluster for pair in pairs}) == len(pairs)
    both = {pair.cluster for pair in task.pairs(control_tokenizers.build("gpt2"), Split.DISCOVERY, 1000, 1)}
    assert both == {pair.cluster for pair in pairs}
