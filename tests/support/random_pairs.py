"""Prompt pairs of random tokens, for tests that need no task."""

from collections.abc import Sequence

import torch

from arithloc.benchmark.api import SHOT, PromptPair, Split


def random_pairs(
    vocab: int, lengths: Sequence[int], *, seed: int = 0, shots: int = 0, frames: Sequence[str] = ("f0",)
) -> list[PromptPair]:
    """One pair per entry of `lengths`, a query's number of tokens (at least 6); `shots` exemplar tokens in front.

    The prompts differ at both operands and nowhere else. Operand 1 takes all tokens that are left over.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> list[int]:
        return torch.randint(2, vocab, (n,), generator=generator).tolist()

    pairs = []
    for index, length in enumerate(lengths):
        wide = length - 5
        classes = ("early", *["operand1"] * wide, "operator", "operand2", "late", "last")
        clean = draw(length)
        other = list(clean)
        for place in (*range(1, 1 + wide), wide + 2):
            other[place] = 2 + (clean[place] - 2 + 1 + int(torch.randint(vocab - 3, (1,), generator=generator))) % (
                vocab - 2
            )
        front = draw(shots)
        answer, foil, third = torch.randperm(vocab - 2, generator=generator)[:3].tolist()
        pairs.append(
            PromptPair(
                task="random",
                frame=frames[index % len(frames)],
                operator="add",
                kind="operands",
                clean=f"clean {index}",
                counterfactual=f"counterfactual {index}",
                clean_ids=(*front, *clean),
                counterfactual_ids=(*front, *other),
                classes=(*[SHOT] * shots, *classes),
                answer="a",
                answer_cf="b",
                answer_ids=(answer + 2,),
                answer_cf_ids=(foil + 2,),
                first_diff=0,
                candidates=tuple(sorted({answer + 2, foil + 2, third + 2}))[: 2 + index % 2]
                if index % 2
                else (answer + 2, foil + 2),
                strata=(),
                cluster=str(index),
                split=Split.DISCOVERY,
                index=index,
            )
        )
    return pairs


CLASSES = ("early", "operand1", "operator", "operand2", "late", "last")
"""Position classes of a random pair's query, in prompt order."""
