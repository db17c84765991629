"""The claims of the paper about the maps, each as one number.

Layers of the paper's 28-block model are taken as shares of the depth. Reference: arXiv:2305.15054.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from arithloc.benchmark.api.report import Claim
from arithloc.benchmark.metrics.measured import Spread
from arithloc.methods.analyses.forms import OPERATORS, Form
from arithloc.methods.analyses.mediation.importance import (
    contrast,
    depth,
    joint_ie,
    relative_importance,
    result_specificity,
    retention,
)
from arithloc.methods.analyses.mediation.maps import ATTENTION, MLP, ModuleMap
from arithloc.methods.analyses.mediation.predictions import Predictions

PAPER: Final = "arXiv:2305.15054, section 4"
BLOCKS: Final = 28
"""Depth of the model (GPT-J) whose layers the paper names."""
ATTENTION_SPAN: Final = (11 / BLOCKS, 19 / BLOCKS)
"""Blocks 11 to 18, whose attention moves the operands to the last position."""
DESIRED_SPAN: Final = (19 / BLOCKS, 21 / BLOCKS)
UNDESIRED_SPAN: Final = (14 / BLOCKS, 18 / BLOCKS)
OPERANDS: Final = ("operand1", "operand2")
EFFECT: Final = "mean (d + d') / 2 in nats"


Maps = Mapping[str, ModuleMap | Form]


def map_claims(maps: Maps) -> Iterator[Claim]:
    """Claims about the maps of all designs."""
    main = maps["operands"]
    if isinstance(main, Form):
        yield Claim.untested(
            "M1", "Mid-to-late MLPs at the last position carry the result.", statistic=EFFECT, reason=main.reason, source=PAPER
        )  # fmt: skip
        return
    yield _late_mlps("M1", "MLPs of the upper half at the last position carry more than those of the lower half.", main)
    for number, name in enumerate(OPERANDS, start=1):
        yield _first_mlp(f"M2.{number}", name, main)
    yield _attention("M3", main)
    yield from _fixed_result(main, maps["same-answer"])
    yield from _elsewhere(maps)
    for number, name in enumerate(("retrieval", "factual", "copying"), start=1):
        yield _control(f"M8.{number}", name, main, maps[name])


def prediction_claims(found: Predictions, n_layers: int) -> Iterator[Claim]:
    """The claim about changes of predictions."""
    desired, undesired = depth(n_layers, *DESIRED_SPAN), depth(n_layers, *UNDESIRED_SPAN)
    text = "Later MLPs (blocks 19-20 of 28) change predictions as desired more often than earlier ones (14-17)."
    statistic = "desired minus undesired share of pairs, later minus earlier MLPs at the last position"
    if not desired.any() or not undesired.any():
        yield Claim.untested("M9", text, statistic=statistic, reason="The model has too few blocks.", source=PAPER)
        return
    net = found.desired - found.undesired
    estimate = net.map(lambda share: share[:, desired].mean(-1) - share[:, undesired].mean(-1)).measured
    yield Claim.above("M9", text, statistic=statistic, threshold=0.0, estimate=estimate, source=PAPER)


def _halves(found: ModuleMap) -> tuple[np.ndarray, np.ndarray]:
    return depth(found.n_layers, 0.5, 1.0), depth(found.n_layers, 0.0, 0.5)


def _late_mlps(id: str, text: str, found: ModuleMap) -> Claim:
    upper, lower = _halves(found)
    difference = contrast(found.signed, upper, lower, module=MLP, cls=found.last)
    statistic = f"{EFFECT}, last-position MLPs, upper minus lower half of the blocks"
    return Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=difference.measured, source=PAPER)


def _first_mlp(id: str, name: str, found: ModuleMap) -> Claim:
    text = f"The first MLP at {name} carries more than the other MLPs there."
    statistic = f"{EFFECT}, MLPs at {name}, block 0 minus the others"
    cls = found.of_class(name)
    if cls is None:
        return Claim.untested(id, text, statistic=statistic, reason=f"No token is {name} alone.", source=PAPER)
    first = np.arange(found.n_layers) == 0
    difference = contrast(found.signed, first, ~first, module=MLP, cls=cls)
    return Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=difference.measured, source=PAPER)


def _attention(id: str, found: ModuleMap) -> Claim:
    text = "Attention of the middle blocks (11-18 of 28) at the last position fetches what the result is made of."
    statistic = f"{EFFECT}, attention at the last position, these blocks minus the others"
    inside = depth(found.n_layers, *ATTENTION_SPAN)
    if not inside.any() or inside.all():
        return Claim.untested(id, text, statistic=statistic, reason="The model has too few blocks.", source=PAPER)
    difference = contrast(found.signed, inside, ~inside, module=ATTENTION, cls=found.last)
    return Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=difference.measured, source=PAPER)


def _fixed_result(main: ModuleMap, fixed: ModuleMap | Form) -> Iterator[Claim]:
    vanish = "Where both prompts have the same result, the late last-position MLPs lose their importance."
    vanish_statistic = "result specificity: RI of late last-position MLPs, result varying minus result fixed"
    stay = "The early MLPs at the operands keep more of their effect when the result is fixed than the late ones at the last position."
    stay_statistic = "share of log(1 + IE) left with a fixed result: lower half at the operands minus upper half at the last position"
    if isinstance(fixed, Form):
        for id, text, statistic in (("M4", vanish, vanish_statistic), ("M5", stay, stay_statistic)):
            yield Claim.untested(id, text, statistic=statistic, reason=fixed.reason, source=PAPER)
        return
    estimate = result_specificity(main, fixed).measured
    yield Claim.above("M4", vanish, statistic=vanish_statistic, threshold=0.0, estimate=estimate, source=PAPER)
    upper, lower = _halves(main)
    at_operands, at_last = np.zeros((2, *main.effects.d.shape[:3]), dtype=np.bool_)
    for name in OPERANDS:
        if (cls := main.of_class(name)) is not None:
            at_operands[lower, MLP, cls] = True
    at_last[upper, MLP, main.last] = True
    if main.classes != fixed.classes or not at_operands.any():
        yield Claim.untested(
            "M5", stay, statistic=stay_statistic, reason="The two designs have other position classes.", source=PAPER
        )
        return
    both = joint_ie(main, fixed)
    difference = retention(both, at_operands) - retention(both, at_last)
    yield Claim.above("M5", stay, statistic=stay_statistic, threshold=0.0, estimate=difference.measured, source=PAPER)


def _elsewhere(maps: Maps) -> Iterator[Claim]:
    designs = (
        ("M6.1", "operator", "The same late last-position MLPs carry a change of the operator."),
        ("M6.2", "words", "The same late last-position MLPs carry the result of number words."),
        *(
            (f"M6.{number}", name, f"The same late last-position MLPs carry the result of {name}.")
            for number, name in enumerate(
                (name for name in OPERATORS if name in maps), start=3
            )
        ),
        ("M7", "three-operands", "Late last-position MLPs carry the result of three operands (in models tuned for them)."),
    )  # fmt: skip
    for id, name, text in designs:
        found = maps[name]
        if isinstance(found, Form):
            statistic = f"{EFFECT}, last-position MLPs, upper minus lower half of the blocks"
            yield Claim.untested(id, text, statistic=statistic, reason=found.reason, source=PAPER)
        else:
            yield _late_mlps(id, text, found)


def _control(id: str, name: str, main: ModuleMap, control: ModuleMap | Form) -> Claim:
    text = f"Late last-position MLPs are more important for arithmetic than for {name}."
    statistic = f"RI of late last-position MLPs, arithmetic minus {name}"
    source = PAPER if name != "copying" else "control of this project"
    if isinstance(control, Form):
        return Claim.untested(id, text, statistic=statistic, reason=control.reason, source=source)
    difference: Spread = relative_importance(main) - relative_importance(control)
    return Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=difference.measured, source=source)


def overlap_claims(words: Spread | None, others: Mapping[str, Spread], chance: float) -> Iterator[Claim]:
    """Claims about the coordinates of the key MLP.

    Args:
        words: overlap of the digits' and the words' coordinates, None where words are not solved.
        others: overlap of the digits' coordinates with those of each control.
        chance: overlap of two random lists.
    """
    statistic = "overlap of the top 9.8 % of the coordinates of the key MLP"
    text = "Digits and number words use the same coordinates of the key MLP."
    if words is None:
        yield Claim.untested("M10.1", text, statistic=statistic, reason="Number words are not solved.", source=PAPER)
        return
    yield Claim.above("M10.1", text, statistic=statistic, threshold=round(chance, 4), estimate=words.measured, source=PAPER, note=f"Chance is {chance:.1%}.")  # fmt: skip
    for number, (name, found) in enumerate(others.items(), start=2):
        yield Claim.above(
            f"M10.{number}",
            f"They share more of them than digits and {name}.",
            statistic=f"{statistic}: digits and words minus digits and {name}",
            threshold=0.0,
            estimate=(words - found).measured,
            source=PAPER,
        )
