"""Text of the board: escaping of what strangers wrote, numbers, intervals, units, names of scores."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")
"""ASCII punctuation: everything that Markdown, and the directives Streamlit adds to it, can start with."""

_AUTOLINK = re.compile(r"https?:(?=//)|www(?=\.)|@", re.ASCII | re.IGNORECASE)
"""What Markdown makes a link of without being asked, escaped or not: it takes an invisible space to stop it."""

_LINK = re.compile(r"https://[^\s<>\"'\\^`{|}]+", re.ASCII)
_ARXIV = re.compile(r"arxiv:\s*(\d{4}\.\d{4,5}(?:v\d+)?|[a-z-]+(?:\.[a-z]{2})?/\d{7})", re.ASCII | re.IGNORECASE)
_DOI = re.compile(r"doi:\s*(10\.\d{4,9}/[\w.()/:;-]+)", re.ASCII | re.IGNORECASE)

Real = float | int | None

MISSING = ""
"""What stands where there is no value: an empty table cell, never 0."""


@dataclass(frozen=True)
class ScoreText:
    """How a score is named and written.

    Attributes:
        label: name in headings and columns.
        summary: what it says, one sentence.
        share: the value is a share of the model, written with two significant digits.
        digits: decimals, where `share` is not set.
        unreached: text for a value that is not there because the goal was never reached.
        equation: LaTeX, where one line says it.
    """

    label: str
    summary: str = ""
    share: bool = False
    digits: int = 2
    unreached: str = MISSING
    equation: str = ""


SCORES = {
    "faithfulness_area": ScoreText(
        "Faithfulness area",
        "Recovered behaviour, bounded to [0, 1] and averaged over the logarithm of circuit size; 1 is best.",
        equation=r"\frac{1}{\ln(s_1 / s_0)} \int_{s_0}^{s_1} g(f(s)) \, d\ln s,\quad s_0 \ge 0.001,\ s_1 = 0.5",
    ),
    "sparsity": ScoreText(
        "Sparsity",
        "Smallest circuit, as a share of the model's edges, whose faithfulness is at least 0.9; smaller is better.",
        share=True,
        unreached="not reached",
        equation=r"\min \{\, s_n : \text{lower 95 \% bound of } f(C_n) \ge 0.9 \,\}",
    ),
    "sparsity_components": ScoreText("Components at 0.9", "Number of components of that smallest circuit.", digits=0),
    "completeness_area": ScoreText(
        "Completeness",
        "The same area for what the model loses without the circuit; 1: nothing of the behaviour is left.",
        equation=r"c(C) = 1 - f(M \setminus C) \text{ in the place of } f",
    ),
    "cpr": ScoreText(
        "CPR",
        "Area under faithfulness over ten budgets, signed ranking, as MIB defines it; higher is better.",
        equation=r"\int f(k) \, dk,\quad k \in \{0.001, 0.002, 0.005, \dots, 1\}",
    ),
    "cmd": ScoreText(
        "CMD",
        "Area of the distance to faithfulness 1 over ten budgets, absolute ranking, as MIB defines it; 0 is best.",
        equation=r"\int |1 - f(k)| \, dk",
    ),
    "auroc": ScoreText(
        "AUROC",
        "Chance that a component of the proven circuit scores above one outside it; 0.5 is chance.",
        equation=r"P(x_{in} > x_{out}) + \tfrac12 P(x_{in} = x_{out})",
    ),
    "average_precision": ScoreText(
        "Average precision",
        "Precision averaged over the recall of the proven circuit; chance is its share.",
        equation=r"\sum_t (R_t - R_{t-1}) P_t",
    ),
    "precision_at_true_size": ScoreText(
        "Precision at true size", "Share of the circuit among the strongest components, as many as it has."
    ),
}


def score_text(name: str) -> ScoreText:
    """How the score `name` is written; a score that is not in `SCORES` gets its own name as label."""
    return SCORES.get(name) or ScoreText(name.replace("_", " ").replace("@", " at ").capitalize())


def plain(value: object) -> str:
    r"""One line without control and bidirectional override characters, for table cells and chart labels.

    >>> plain("a\nb")
    'a b'
    """
    kept = (" " if ch in "\n\r\t" else ch for ch in str(value))
    return " ".join("".join(ch for ch in kept if unicodedata.category(ch) not in ("Cc", "Cf", "Cs", "Co")).split())


def md(value: object) -> str:
    r"""A text from outside, escaped so that Markdown shows it as it is.

    >>> print(md("*a* :red[b]"))
    \*a\* \:red\[b\]
    """
    return _SPECIAL.sub(r"\\\1", _AUTOLINK.sub("\\g<0>\u200b", plain(value)))


def shortened(value: object, width: int = 28) -> str:
    """A name for a chart axis: `plain`, cut in the middle so that the distinguishing end stays.

    >>> shortened("abcdefghij", 7)
    'abc…hij'
    """
    name = plain(value)
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def hash_of(value: str) -> str:
    """A hash cut to 16 digits; other text as it is.

    >>> hash_of("a" * 64), hash_of("main")
    ('aaaaaaaaaaaaaaaa…', 'main')
    """
    return re.sub(r"\b([0-9a-f]{16})[0-9a-f]{16,}\b", r"\1…", value)


def reference_url(reference: str) -> str | None:
    """Address of a reference, or None where it is neither `https://...`, `arXiv:...` nor `doi:...`.

    >>> reference_url("arXiv:2305.15054")
    'https://arxiv.org/abs/2305.15054'
    """
    text = reference.strip()
    if match := _ARXIV.fullmatch(text):
        return f"https://arxiv.org/abs/{match[1]}"
    if match := _DOI.fullmatch(text):
        return f"https://doi.org/{match[1]}"
    return text if _LINK.fullmatch(text) else None


def _finite(value: Real) -> float | int | None:
    return None if value is None or not math.isfinite(value) else value


def number(value: Real, score: ScoreText) -> str:
    """One value of a score.

    >>> number(0.6149, ScoreText("x"))
    '0.61'
    >>> number(0.004217, ScoreText("x", share=True))
    '0.0042'
    """
    if (value := _finite(value)) is None:
        return score.unreached
    if score.share:
        if value <= 0:
            return "0"
        return f"{value:.{max(1 - math.floor(math.log10(value)), 2)}f}"
    rounded = f"{value:.{score.digits}f}"
    return rounded[1:] if float(rounded) == 0 and rounded.startswith("-") else rounded


def interval(value: Real, low: Real, high: Real, score: ScoreText) -> str:
    """A value with its 95 % interval; an end that was not reached is shown as `>`.

    >>> interval(0.612, 0.571, 0.6496, ScoreText("x"))
    '0.61 [0.57, 0.65]'
    """
    low, high = _finite(low), _finite(high)
    if _finite(value) is None or (low is None and high is None):
        return number(value, score)
    ends = ["<" if low is None else number(low, score), ">" if high is None else number(high, score)]
    return f"{number(value, score)} [{ends[0]}, {ends[1]}]"


def rank(low: int, high: int) -> str:
    """A rank interval.

    >>> rank(1, 3), rank(2, 2)
    ('1-3', '2')
    """
    return str(low) if low == high else f"{low}-{high}"


def duration(seconds: Real) -> str:
    """A time with two significant units.

    >>> duration(0.001), duration(0.25), duration(75), duration(7500)
    ('<0.01 s', '0.25 s', '1 min 15 s', '2 h 5 min')
    """
    if (seconds := _finite(seconds)) is None:
        return MISSING
    if seconds < 0.01:
        return "<0.01 s"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size_of(n_bytes: Real) -> str:
    """A number of bytes.

    >>> size_of(1536), size_of(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    if (n_bytes := _finite(n_bytes)) is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def moment(stamp: str) -> str:
    """A stored time to the minute.

    >>> moment("2026-01-02T03:04:05.678Z")
    '2026-01-02 03:04'
    """
    return stamp[:16].replace("T", " ")


def counted(n: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "entry"), counted(3, "entry"), counted(2, "cell")
    ('1 entry', '3 entries', '2 cells')
    """
    if n == 1:
        return f"1 {noun}"
    return f"{n:,} {noun[:-1]}ies" if noun.endswith("y") else f"{n:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Names joined for a sentence: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
