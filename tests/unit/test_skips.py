"""No test is skipped without being listed."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
SKIP = re.compile(r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b")


def test_the_list_of_skips_is_the_code() -> None:
    listed = set(re.findall(r"^\| `([^`]+)`", (TESTS / "SKIPS.md").read_text(), re.MULTILINE))
    found = {
        str(file.relative_to(TESTS))
        for file in TESTS.rglob("*.py")
        if file != Path(__file__) and SKIP.search(file.read_text())
    }
    assert listed == found
