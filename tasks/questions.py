"""Questions: text in labelled pieces, before any tokenizer has seen it."""

from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import NamedTuple

EARLY = "early"
LATE = "late"
LAST = "last"
BOS = "bos"
OPERATOR = "operator"


class Piece(NamedTuple):
    """A stretch of text and the position class of the tokens that begin in it."""

    cls: str
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A template.

    Attributes:
        id: public id.
        body: the question itself, with fields such as `{x}`, `{y}` and operator slots.
        lead: what stands in front of the body outside a chat, as `Q: `.
        tail: what stands behind it there, as ` A:`.
        style: `equation`, `statement` or `qa`.
        tight: no space between prompt and answer.
        reply: how the reply begins in a chat; a frame that has one is for chats only.
    """

    id: str
    body: str
    lead: str = ""
    tail: str = ""
    style: str = "equation"
    tight: bool = False
    reply: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(name for _, name in _parts(self.body) if name)

    @property
    def reply_fields(self) -> tuple[str, ...]:
        """Names of the fields of the reply, in order."""
        return tuple(name for _, name in _parts(self.reply) if name)


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        frame: its template.
        operator: operator or relation id.
        pieces: body of the prompt.
        answer: right answer; empty where there is none.
        key: what was asked about, in the order of the prompt (operands, entity).
        cluster: canonical form of `key`, unit of split and bootstrap.
        strata: tags of this question alone.
        reply: beginning of the reply in a chat.
    """

    frame: Frame
    operator: str
    pieces: tuple[Piece, ...]
    answer: str
    key: tuple[int | str, ...]
    cluster: tuple[int | str, ...]
    strata: tuple[tuple[str, str], ...] = ()
    reply: tuple[Piece, ...] = ()

    @property
    def body(self) -> str:
        """Text of the body."""
        return text_of(self.pieces)

    def wrapped(self) -> tuple[Piece, ...]:
        """Pieces with lead and tail: the question as plain text."""
        front = (Piece(EARLY, self.frame.lead),) if self.frame.lead else ()
        back = (Piece(LATE, self.frame.tail),) if self.frame.tail else ()
        return (*front, *self.pieces, *back)


@dataclass(frozen=True)
class Labels:
    """Position classes of a family's templates.

    Attributes:
        fields: class by field name.
        anchors: the fields that divide the prompt; literal text before the first is `gaps[0]`, after the k-th
            `gaps[k]`.
        gaps: classes of literal text, one more than there are anchors.
    """

    fields: tuple[tuple[str, str], ...]
    anchors: frozenset[str]
    gaps: tuple[str, ...]


def text_of(pieces: tuple[Piece, ...]) -> str:
    """Text of some pieces.

    Example:
    >>> text_of((Piece("operand1", "3"), Piece("late", " =")))
    '3 ='
    """
    return "".join([piece.text for piece in pieces])


def render(body: str, labels: Labels, values: dict[str, str]) -> tuple[Piece, ...]:
    """Fills a template body.

    Example:
    >>> labels = Labels((("x", "operand1"), ("S", "operator"), ("y", "operand2")), frozenset("xy"), ("early", "middle", "late"))
    >>> [p.cls for p in render("{x}{S}{y} =", labels, {"x": "3", "S": "+", "y": "5"})]
    ['operand1', 'operator', 'operand2', 'late']
    """
    return tuple([Piece(cls, values[text] if is_field else text) for cls, text, is_field in _compiled(body, labels)])


@lru_cache(maxsize=1024)
def _compiled(body: str, labels: Labels) -> tuple[tuple[str, str, bool], ...]:
    classes = dict(labels.fields)
    out: list[tuple[str, str, bool]] = []
    passed = 0
    for literal, name in _parts(body):
        if literal:
            out.append((labels.gaps[passed], literal, False))
        if name:
            out.append((classes[name], name, True))
            passed += name in labels.anchors
    return tuple(out)


@lru_cache(maxsize=1024)
def _parts(body: str) -> tuple[tuple[str, str], ...]:
    return tuple((literal, name or "") for literal, name, _, _ in Formatter().parse(body))
