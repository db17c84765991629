import doctest
import re

import pytest

from arithloc.leaderboard import cells, text
from arithloc.leaderboard.text import ScoreText, counted, duration, interval, listed, md, number, plain, reference_url

PLAIN = ScoreText("x")
SHARE = ScoreText("x", share=True, unreached="not reached")


@pytest.mark.parametrize("module", [text, cells], ids=lambda m: m.__name__)
def test_examples_in_the_documentation_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_markdown_and_directives_are_escaped():
    hostile = "**b** [x](https://e.org) <img src=x> :red[r] $x$ `c` | # 1. - ~s~ :material/home: &lt; \\"
    special = set("*[]()<>:$`|#.-~/=&;\\")
    escaped = md(hostile)
    for i, character in enumerate(escaped):
        if character in special:
            before = len(escaped[:i]) - len(escaped[:i].rstrip("\\"))
            assert before % 2 == 1 or character == "\\", escaped[: i + 1]
    unescaped = escaped.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    assert unescaped.replace("\u200b", "") == hostile


@pytest.mark.parametrize("bait", ["https://e.org", "HTTP://e.org", "www.e.org", "a.b@e.org"])
def test_addresses_do_not_become_links_by_themselves(bait):
    shown = md(f"see {bait}").replace("\\", "")
    assert shown.replace("\u200b", "") == f"see {bait}"
    assert not re.search(r"(?i)https?://|www\.|@[-\w]", shown)


def test_plain_drops_what_changes_the_direction_or_the_line():
    assert plain("a\u202egnirts\u2066 b\nc\x00\u200bd") == "agnirts b cd"


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("arXiv:2305.15054", "https://arxiv.org/abs/2305.15054"),
        ("arXiv:2305.15054v2", "https://arxiv.org/abs/2305.15054v2"),
        ("doi:10.1000/xyz-1", "https://doi.org/10.1000/xyz-1"),
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("http://example.org", None),
        ("javascript:alert(1)", None),
        ("https://example.org/) [x](javascript:y", None),
        ('https://example.org/"onmouseover="x', None),
        ("Smith 2024", None),
        ("", None),
    ],
)
def test_only_safe_references_become_links(reference, url):
    assert reference_url(reference) == url


@pytest.mark.parametrize(
    ("value", "low", "high", "score", "shown"),
    [
        (0.6149, 0.571, 0.6449, PLAIN, "0.61 [0.57, 0.64]"),
        (None, None, None, PLAIN, ""),
        (float("nan"), 0.1, 0.2, PLAIN, ""),
        (0.5, None, None, PLAIN, "0.50"),
        (-0.001, -0.2, 0.1, PLAIN, "0.00 [-0.20, 0.10]"),
        (0.0123, 0.0045, None, SHARE, "0.012 [0.0045, >]"),
        (None, 0.2, None, SHARE, "not reached"),
        (0.0, 0.0, 0.5, SHARE, "0 [0, 0.50]"),
        (1.0, 0.96, 1.0, SHARE, "1.00 [0.96, 1.00]"),
    ],
)
def test_values_and_intervals(value, low, high, score, shown):
    assert interval(value, low, high, score) == shown


def test_a_number_keeps_two_significant_digits_of_a_share():
    assert [number(v, SHARE) for v in (0.5, 0.05, 0.0049, 0.00012)] == ["0.50", "0.050", "0.0049", "0.00012"]


def test_small_words():
    assert [duration(s) for s in (None, 9.94, 59.4, 61, 3600)] == ["", "9.9 s", "59 s", "1 min 1 s", "1 h 0 min"]
    assert (counted(0, "cell"), counted(1, "access level"), counted(1234, "entry")) == (
        "0 cells", "1 access level", "1,234 entries",
    )  # fmt: skip
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("none", "a", "a, b and c")


def test_an_unknown_score_is_shown_under_its_own_name():
    assert text.score_text("invented_score@5").label == "Invented score at 5"
