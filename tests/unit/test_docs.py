"""Documents say what is there: links lead somewhere, examples give what they show, names and bounds are the code's."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from arithloc.benchmark.api.registry import model_sources
from arithloc.benchmark.api.study import MIN_CORRECT
from arithloc.benchmark.engine.readings import METRICS
from arithloc.benchmark.metrics import bootstrap, faithfulness, prefixes, sparsity
from arithloc.benchmark.metrics.cell import Curves, score_cell
from arithloc.benchmark.metrics.prefixes import Circuits
from arithloc.benchmark.metrics.readout import Readout
from arithloc.benchmark.metrics.truth import Truth, truth_estimates
from arithloc.benchmark.metrics.truth_document import TruthDocument
from arithloc.benchmark.storage.export import Format
from arithloc.benchmark.storage.records import Status
from arithloc.tasks.frames import ALIASES, FRAMES
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.rules import Rule
from arithloc.tasks.toy.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN = ("scores", "comparing", "ground-truth", "truth-scores", "methods", "tasks", "controls", "storage")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def named(name: str) -> set[str]:
    """Everything that a page sets in code type."""
    return {part.strip() for code in re.findall(r"`([^`\n]+)`", text_of(name)) for part in code.split(",")}


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading, here\n[a](#a-heading-here) [b](#there) [c](no.md) [d](https://x.org/y) [e](page.md#other)"
    )
    assert broken(page) == ["#there", "no.md", "page.md#other"]


@pytest.mark.parametrize("name", OWN)
def test_examples_give_what_they_show(name: str) -> None:
    blocks = BLOCK.findall(text_of(name))
    if name in ("scores", "comparing", "truth-scores"):
        assert blocks, "no worked example"
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, f"docs/{name}.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", OWN)
def test_pages_stay_short(name: str) -> None:
    # generated tables grow with the registries and are not counted
    written = re.sub(r"<!-- ([\w-]+):begin -->.*?<!-- \1:end -->", "", text_of(name), flags=re.DOTALL)
    assert len(written.splitlines()) <= 160


# ---- names ------------------------------------------------------------------------------------------------------------


def stored_scores() -> set[str]:
    """Names that a cell with everything stores, by asking the functions that the runner asks."""
    rng = np.random.default_rng(0)
    kept = np.tri(3, dtype=np.bool_)
    circuits = Circuits(np.arange(1, 4), np.arange(1, 4), np.array([0.1, 0.3, 1.0]), kept)
    budgets = Circuits(np.arange(10), np.arange(10), np.linspace(0.1, 1, 10), np.zeros((10, 3), dtype=np.bool_))

    def readout(name: str, full: float, empty: float) -> Readout:
        def runs(n: int) -> np.ndarray:
            return rng.normal((full + empty) / 2, 0.01, (n, 30))

        return Readout(name, np.full(30, full), np.full(30, empty), runs(3), runs(3), runs(10), runs(10))

    scores = score_cell(
        Curves(circuits, 0.01, budgets, budgets),
        readout("logit_diff", 2.0, -2.0),
        [str(i) for i in range(30)],
        "ab",
        50,
        accuracy=readout("accuracy", 1.0, 0.0),
        kl=readout("kl", 0.0, 5.0),
    )
    return {estimate.name for estimate in scores.estimates}


def truth_scores() -> set[str]:
    truth = Truth(np.array([True, False, False]), np.ones(3, dtype=np.bool_), (), {0: "carry"})
    return {estimate.name for estimate in truth_estimates(np.array([3.0, 1.0, 2.0]), truth, 0)}


def test_every_stored_score_is_defined() -> None:
    described = named("scores")
    families = {"accuracy_full", "accuracy_empty", "accuracy_effect", "kl_full", "kl_empty", "kl_effect"}
    assert {"accuracy_...", "kl_..."} <= described
    assert stored_scores() - families - described == set()
    assert {name.replace("carry", "<role>") for name in truth_scores()} - named("truth-scores") == set()


def test_every_metric_reason_and_status_is_explained() -> None:
    assert set(METRICS) - named("scores") == set()
    reasons = {"model-cannot", "no-pairs", "no-effect", "denominator", "not-reached", "no-size-range", "few-clusters"}
    assert reasons | {"high-not-reached"} <= named("scores")
    assert {status.value for status in Status} <= named("storage")
    assert {form.value for form in Format} <= named("storage")


def test_bounds_are_those_of_the_code() -> None:
    page = text_of("scores")
    for said, value in (
        ("at least 0.9 ", sparsity.REACHED),
        ("at most 1.1 ", sparsity.EXCEEDED),
        ("lo = 0.001", prefixes.LO),
        ("from lo to 0.5;", prefixes.HI),
        ("at most 64 components", prefixes.ALL_PREFIXES),
        ("under 0.05 nats", faithfulness.MIN_KL),
        ("under 20 clusters", bootstrap.FEW_CLUSTERS),
        ("more than 2.5 %", 100 * bootstrap.MAX_BAD_SHARE),
        ("under 75 %", 100 * MIN_CORRECT),
    ):
        assert said in page
        assert f"{value:g}" in said
    assert ", ".join(f"{k:g}" for k in prefixes.BUDGETS) in page


def test_every_kind_range_and_rule_is_explained() -> None:
    described = named("tasks")
    assert {member.value for member in (*Kind, *Range)} | set(KINDS) - {"operands"} <= described
    rules = re.findall(r"^\| (V\d) \|", text_of("tasks"), re.MULTILINE)
    assert rules == sorted(rule.value for rule in Rule)


def test_every_frame_is_named() -> None:
    # `F0` to `F5` names all in between
    page = text_of("tasks")
    families = {re.sub(r"\d+$", "", name) for name in FRAMES}
    assert all(f"`{family}0`" in page or f"`{family}`" in page for family in families)
    assert set(ALIASES) <= named("tasks")


def test_the_toys_of_the_page_are_the_registered_ones() -> None:
    toys = {name for name, source in model_sources().items() if source.is_toy}
    assert set(re.findall(r"^\| `(toy-[^`]+)`", text_of("ground-truth"), re.MULTILINE)) == toys


def test_every_key_of_a_truth_document_is_named() -> None:
    keys = {field.alias or name for name, field in TruthDocument.model_fields.items()}
    assert keys - {"schema"} - named("ground-truth") == set()
    assert "schema 1" in text_of("ground-truth")
