"""The board in a real browser: ranking, entry page, deep links, widths, console."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from support import demo

from arithloc.benchmark.storage.boards import update_boards
from arithloc.benchmark.storage.repository import Repository
from arithloc.leaderboard.cells import entries

CHROMIUM = os.environ.get("ARITHLOC_CHROMIUM", "")
APP = Path(__file__).parents[2] / "leaderboard" / "app.py"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
KNOWN_404 = re.compile(r"/(?:_stcore/health|_stcore/host-config)$")
"""Streamlit asks for these two below the address of a page that is loaded directly, and finds them at the root."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (ARITHLOC_CHROMIUM)"),
]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Address of a running board and the ids of two entries, one with a name that is hard to show."""
    folder = tmp_path_factory.mktemp("board")
    demo.build(folder / "results.db")
    with Repository.open(folder / "results.db") as repository:
        update_boards(repository)
        ids = {entry.label: entry.entry_id for entry in entries(repository).values()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.headless", "true",
        "--server.address", "127.0.0.1",
    ]  # fmt: skip
    environment = {**os.environ, "ARITHLOC_DB": str(folder / "results.db")}
    server = subprocess.Popen(  # started from another directory, as `bench leaderboard` may be
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    limit = threading.Timer(120, server.kill)
    limit.start()
    try:
        said = list(iter_until(server.stdout, "URL:"))
        limit.cancel()
        assert said and "URL:" in said[-1], f"the board did not start: {said}"
        yield f"http://127.0.0.1:{port}", ids["mediation[effect=indirect]"], ids[demo.MARKDOWN]
    finally:
        server.kill()
        server.communicate()


def iter_until(lines, sign):
    """Lines up to the one with the sign, or to the end."""
    for line in lines:
        yield line
        if sign in line:
            return


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, board):
    """Opens an address of the board; at the end no page may have complained."""
    contexts, complaints = [], []

    def note(message):
        if message.type == "error" and not KNOWN_404.search(message.location.get("url", "")):
            complaints.append(message.text)

    def open_page(path, width=1400, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(board[0] + path)
        settled(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def settled(page):
    """Waits until the script has run and nothing is left to draw."""
    page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']", timeout=60_000)
    page.wait_for_selector("[data-testid='stCaptionContainer']:has-text('scoring version')", timeout=60_000)


def overflow(page):
    """How many pixels the page is wider than its window."""
    return page.evaluate(
        """() => {
            const main = document.querySelector("[data-testid='stMain']");
            return Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - innerWidth);
        }"""
    )


def table_rows(page):
    """Texts of the cells in view of the first table, by row, from its accessible copy."""
    table = page.locator("[data-testid='stDataFrame'] canvas table").first
    table.locator("td").first.wait_for(state="attached", timeout=30_000)
    return [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]


def choose_row(page, row):
    """Clicks the first cell of a row of the first table."""
    canvas = page.locator("[data-testid='stDataFrame'] canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + 60, box["y"] + 35 * (row + 1) + 17)


def chart_boxes(page, n):
    """Places of the first `n` charts, once they are drawn."""
    charts = page.locator("[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg")
    charts.nth(n - 1).wait_for(timeout=30_000)
    return [charts.nth(i).bounding_box() for i in range(n)]


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "light"), (390, "dark")])
def test_from_the_ranking_to_an_entry(visit, width, scheme):
    page = visit("/", width, scheme)
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["Ranking"]
    rows = table_rows(page)
    assert rows[0][:3] == ["path-patching", "1", "0.64 [0.62, 0.65]"]
    assert rows[1][:3] == ["mediation[effect=indirect]", "2-3", "0.40 [0.39, 0.41]"]
    assert overflow(page) <= 0
    (box,) = chart_boxes(page, 1)
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 10 * 26

    choose_row(page, 1)
    page.get_by_text("tied with mediation[effect=direct]").wait_for(timeout=30_000)
    page.get_by_role("link", name="Open").click()
    page.get_by_role("heading", level=1, name="mediation[effect=indirect]").wait_for(timeout=30_000)
    settled(page)
    for box in chart_boxes(page, 3):
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 100
    assert overflow(page) <= 0
    page.get_by_role("link", name="Back to the ranking").click()
    page.get_by_role("heading", level=1, name="Ranking").wait_for(timeout=30_000)


@pytest.mark.parametrize("width", [1400, 390])
def test_a_direct_link_to_an_entry(visit, board, width):
    page = visit(f"/entry?id={board[1]}", width)
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["mediation[effect=indirect]"]
    names = page.locator("[data-testid='stVegaLiteChart'] [aria-label]").first
    names.wait_for(state="attached", timeout=30_000)
    chart_boxes(page, 3)
    described = [page.locator(f"[aria-label*='{words}']").count() for words in ("0.9 reached at", "strongest is")]
    assert all(described), described
    with page.expect_download() as download:
        page.get_by_role("button", name="Scores (CSV)").click()
    header = Path(download.value.path()).read_text().splitlines()[0]
    assert header.startswith("key,name,value,low,high")
    assert overflow(page) <= 0


def test_filters_stand_in_the_address_and_come_from_it(visit):
    page = visit("/?r_view=Sparse+circuits&r_model=smollm2&r_model=nonsense")
    page.get_by_text("Ranked by Sparsity, lower is better").wait_for(timeout=30_000)
    page.get_by_text("Filtered: 1 of 3 models").wait_for(timeout=30_000)
    assert "nonsense" not in page.url
    page.get_by_role("button", name="Reset").click()
    page.get_by_text("No filter is active: 12 entries.").wait_for(timeout=30_000)
    page.wait_for_url(re.compile(r"/$"), timeout=30_000)
    page.get_by_role("radio", name="Known circuits").click()
    page.get_by_text("Ranked by AUROC, higher is better").wait_for(timeout=30_000)
    page.wait_for_url(re.compile(r"r_view=Known"), timeout=30_000)


def test_a_name_that_is_markdown_makes_neither_link_nor_image(visit, board):
    page = visit(f"/entry?id={board[2]}", 390)
    assert page.get_by_role("heading", level=1).inner_text().replace("\u200b", "") == demo.MARKDOWN
    assert page.locator("a[href*='example.org'], img[src='x']").count() == 0
    assert page.locator("[data-testid='stMain'] strong", has_text="bold").count() == 0
    assert overflow(page) <= 0


@pytest.mark.parametrize("path", ["/task", "/circuits", "/raw", "/about"])
def test_other_pages_fit_a_phone(visit, path):
    page = visit(path, 390)
    page.get_by_role("heading", level=1).wait_for(timeout=30_000)
    assert overflow(page) <= 0
