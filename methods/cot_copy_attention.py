"""Copy heads by attention: how much of a head's attention goes to where the answer stands.

Reference: Dutta et al., arXiv:2402.18312, section 4 (first of the two copy scores).
"""

from collections.abc import Sequence

from arithloc.benchmark import engine
from arithloc.benchmark.api import SHOT, Granularity, MethodInfo, Problem, PromptPair, Scores, TooFewPairs
from arithloc.methods.head_writes import of_heads


class CotCopyAttention:
    """Mean attention of each head from the scored position to the answer's source in the clean prompt.

    The source is the first token of the object of the statement that ends in the answer, where the pairs say which one
    that is (tag `source`); otherwise every token of the query that is the scored answer token. MLPs score 0.
    """

    info = MethodInfo(
        name="cot-copy-attention",
        summary="Attention of each head from the scored position to where the answer stands.",
        granularities={Granularity.NODE},
        reference="arXiv:2402.18312",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each head; one forward per pair, and the attention of the scored position once more.

        Raises:
            TooFewPairs: a prompt without the answer.
        """
        sources = answer_sources(problem.pairs)
        weights = engine.attention_weights(problem.model, problem.pairs, progress=problem.progress)
        return of_heads(problem.space, engine.attention_to(weights, sources).mean(-1))


def answer_sources(pairs: Sequence[PromptPair]) -> tuple[frozenset[int], ...]:
    """Tokens of each clean prompt at which the scored answer token stands.

    Raises:
        TooFewPairs: a prompt without any.
    """
    found = tuple(frozenset(_sources(pair)) for pair in pairs)
    without = [pair for pair, tokens in zip(pairs, found, strict=True) if not tokens]
    if without:
        raise TooFewPairs(
            f"Expected prompts in which the scored answer token stands, found {len(without)} of {len(pairs)} pairs of "
            f"{without[0].task!r} without it. Use a task whose answer is in the prompt, such as ontology-cot."
        )
    return found


def _sources(pair: PromptPair) -> list[int]:
    place = dict(pair.strata).get("source")
    query = [t for t, cls in enumerate(pair.classes[:-1]) if cls != SHOT and pair.clean_ids[t] == pair.answer_token]
    return query if place is None else [t for t in query if pair.classes[t] == f"question{place}_object"]
