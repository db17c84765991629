"""Templates of two-operand questions.

F0-F5: Stolfo, Belinkov, Sachan, arXiv:2305.15054 (code lm-arithmetic, MIT licence). Y0-Y3: Yu, Ananiadou,
arXiv:2409.14144. B0: Nikankin et al., arXiv:2410.21272. z frames: three styles as in Zhang et al., arXiv:2409.01659,
in our wording where the paper does not print the template.

C frames are for chats: the reply is begun for the model. Y1o and Y2o have the released wording of division (`divides`).
G0 is a yes/no question (ours). Slots: `W` operator word, `D` operator word with `divided by`, `V` with `divides`, `N`
noun, `R` noun of statements, `G` name of the operation, `S` symbol, `M` noun of the modulo frames, `C` relation.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.questions import OPERATOR, Frame, Labels

LABELS = Labels(
    fields=(("x", "operand1"), ("y", "operand2"), *((slot, OPERATOR) for slot in "WDNRGSMVC")),
    anchors=frozenset("xy"),
    gaps=("early", "middle", "late"),
)
REPLY_LABELS = replace(LABELS, gaps=("late", "late", "late"))
SLOTS = frozenset("WDNRGSMVC")


class Surface(StrEnum):
    """Spacing of symbolic expressions."""

    SPACED = "spaced"
    """`3 + 5 =`"""
    TIGHT = "tight"
    """`3+5=`, answer without a space."""


def _qa(frame_id: str, body: str, lead: str = "Q: ", tail: str = " A:") -> Frame:
    return Frame(frame_id, body, lead, tail, style="qa")


def _statement(frame_id: str, body: str) -> Frame:
    return Frame(frame_id, body, style="statement")


_BASE = (
    _qa("F0", "How much is {x} {W} {y}?"),
    _qa("F1", "What is {x} {W} {y}?"),
    _qa("F2", "What is the result of {x} {W} {y}?"),
    _qa("F3", "What is the {N} {x} and {y}?"),
    _statement("F4", "The {R} {x} and {y} is"),
    Frame("F5", "{x} {S} {y} ="),
    _qa("Y1", "What is {x} {D} {y}?"),
    _statement("Y2", "{x} {D} {y} is"),
    Frame("Y3", "{x}{S}{y}=", tight=True),
    _qa("Y1o", "What is {x} {V} {y}?"),
    _statement("Y2o", "{x} {V} {y} is"),
    Frame("B0", "{x}{S}{y}=", tight=True),
    _qa("M0", "What is the {M} {x} divided by {y}?"),
    _statement("M1", "The {M} {x} divided by {y} is"),
    _qa("G0", "Is {x} {C} {y}?"),
    Frame("C0", "Calculate {x} {S} {y}.", style="qa", reply="="),
    Frame("C1", "Calculate {x} {S} {y}.", style="qa", reply="{x} {S} {y} ="),
    Frame("C2", "What is {x} {S} {y}?", style="qa", reply="{x} {S} {y} ="),
)

_Z_EQUATIONS = (
    "{x} {S} {y} =",
    "{x}{S}{y}=",
    "{x} {S} {y} is",
    "{x} {S} {y} equals",
    "({x} {S} {y}) =",
    "Compute: {x} {S} {y} =",
    "Equation: {x} {S} {y} =",
    "Solve: {x} {S} {y} =",
    "Result: {x} {S} {y} =",
    "Math: {x} {S} {y} =",
    "We have {x} {S} {y} =",
    "Answer: {x} {S} {y} =",
)
_Z_STATEMENTS = (
    "{x} {D} {y} equals to",
    "The {G} of {x} and {y} is",
    "{x} {D} {y} is",
    "{x} {D} {y} equals",
    "{x} {D} {y} gives",
    "{x} {D} {y} makes",
    "The {N} {x} and {y} is",
    "The {N} {x} and {y} equals",
    "The result of {x} {D} {y} is",
    "The value of {x} {D} {y} is",
    "The answer to {x} {D} {y} is",
    "Calculating {x} {D} {y} gives",
)
_Z_QUESTIONS = (
    "What is the {N} {x} and {y}?",
    "What is {x} {D} {y}?",
    "How much is {x} {D} {y}?",
    "What is the result of {x} {D} {y}?",
    "What does {x} {D} {y} equal?",
    "What is the {G} of {x} and {y}?",
    "Compute {x} {D} {y}.",
    "Calculate the {N} {x} and {y}.",
    "What is the value of {x} {D} {y}?",
    "{x} {S} {y} = ?",
    "What is {x} {D} {y}?",
    "Find the {N} {x} and {y}.",
)


def _z_frames() -> tuple[Frame, ...]:
    equations = [Frame(f"zE{i}", body, tight=" " not in body) for i, body in enumerate(_Z_EQUATIONS)]
    statements = [_statement(f"zS{i}", body) for i, body in enumerate(_Z_STATEMENTS)]
    questions = [_qa(f"zQ{i}", body) for i, body in enumerate(_Z_QUESTIONS)]
    questions[10] = _qa("zQ10", _Z_QUESTIONS[10], "Question: ", " Answer:")
    return (*equations, *statements, *questions)


FRAMES = {frame.id: frame for frame in (*_BASE, *_z_frames())}
ALIASES = {
    "Y0": ("F4",),
    "mod": ("M0", "M1", "F1", "F5"),
    "all": ("F0", "F1", "F2", "F3", "F4", "F5"),
    "y": ("F4", "Y1", "Y2", "Y3"),
    "y-original": ("F4", "Y1o", "Y2o", "Y3"),
    "words": ("F0", "F1", "F2", "F3", "F4", "Y1", "Y2"),
    "z": tuple(frame.id for frame in _z_frames()),
    "z-infix": tuple(frame.id for frame in _z_frames() if frame.fields[0] == "x"),
}


def resolve(ids: Sequence[str], surface: Surface = Surface.SPACED) -> tuple[Frame, ...]:
    """The frames that ids and aliases (`all`, `y`, `z`, `Y0`) name, each text once, in order.

    Args:
        ids: frame ids or aliases.
        surface: `tight` removes the spaces of symbolic expressions.

    Raises:
        UnknownName: no frame of that id.
        ValueError: no frame at all, or a tight surface of a frame without a symbol.
    """
    found: dict[tuple[str, str, str, str], Frame] = {}
    for name in ids:
        if name not in FRAMES and name not in ALIASES:
            raise UnknownName.among("frame", name, [*FRAMES, *ALIASES])
        for frame_id in ALIASES.get(name, (name,)):
            frame = FRAMES[frame_id] if surface is Surface.SPACED else _tight(FRAMES[frame_id])
            found.setdefault((frame.lead, frame.body, frame.tail, frame.reply), frame)
    if not found:
        raise ValueError("Expected at least one frame, found none. Name one, for example frames=F5.")
    return tuple(found.values())


def operator_slot(frame: Frame) -> str:
    """The slot of a frame that the operator fills."""
    (slot,) = [name for name in frame.fields if name in SLOTS]
    return slot


def is_infix(frame: Frame) -> bool:
    """Whether the operator stands between the operands."""
    return frame.fields[0] == "x"


def _tight(frame: Frame) -> Frame:
    if operator_slot(frame) != "S" or frame.reply:
        raise ValueError(
            f"Expected equations with an operator symbol for surface=tight, found {frame.id!r}. "
            "Use F5, Y3 or an equation of z, or surface=spaced."
        )
    body = frame.body.replace(" {S} ", "{S}").replace(" =", "=")
    return Frame(frame.id, body, frame.lead, frame.tail, frame.style, tight=body.endswith("="))
