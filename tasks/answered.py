"""The layout of questions that are answered by words: whether the space before an answer is part of its first token."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from arithloc.benchmark.api import TokenizerMismatch
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Bos, Exemplar, Layout, lay_out
from arithloc.tasks.questions import Question

N_PROBES = 9


def lay_out_for(
    encoder: Encoder, question: Question, answers: Sequence[str], exemplars: Sequence[Exemplar], chat: bool, bos: Bos
) -> Layout:
    """The layout that suits most answers of a question's kind, so that it does not depend on which comes first.

    Args:
        encoder: the tokenizer.
        question: any question of the frame and relation.
        answers: every possible answer, in a fixed order; a few of them, evenly spaced, are tried.
        exemplars: solved questions in front.
        chat: use the tokenizer's chat template.
        bos: whether a token stands in front.

    Raises:
        TokenizerMismatch: no answer can follow the prompt.
    """
    step = -(-len(answers) // N_PROBES)
    found: Counter[Layout] = Counter()
    refusal: TokenizerMismatch | None = None
    for answer in answers[::step]:
        try:
            found[lay_out(encoder.tokenizer, replace(question, answer=answer), exemplars, chat, bos)] += 1
        except TokenizerMismatch as error:
            refusal = error
    if not found and refusal is not None:
        raise refusal
    return found.most_common(1)[0][0]
