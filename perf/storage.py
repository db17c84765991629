"""Measures the results database against its budgets: `python perf/storage.py [CELLS]`.

Makes a database of CELLS cells (10,000 by default; 100,000 is the largest size that is planned for) in a temporary folder,
then times what runs and pages do with it. Prints one line per figure: what, median or total, budget.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.storage import schema, writing
from arithloc.benchmark.storage.boards import update_boards
from arithloc.benchmark.storage.cellrows import cell_rows
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.merge import merge
from arithloc.benchmark.storage.records import CellResult, CellSpec, CurvePoint, RankingRule
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.suites import SuiteRecord

CURVE = tuple(
    CurvePoint("kept", RankingRule.ABSOLUTE, i, i, (i + 1) / 100, None, 1.0, i / 100, 0.0, 1.0) for i in range(100)
)
MERGED = 10_000
CHILDREN = ("scores", "curve", "roc")


def spec(seed: int) -> CellSpec:
    """One of many cells, of twenty methods."""
    method = replace(SPEC.method, name=f"method-{seed % 20}")
    return replace(SPEC, seed=seed // 20, method=method, n_draws=2000)


def fill(repository: Repository, cells: int) -> None:
    """Inserts many cells quickly: the rows of the real writer, several cells to a transaction, one file for all."""
    measured = replace(result(n_draws=2000), curve=CURVE)
    patterns = [cell_rows(spec(i), attempt(), measured, ENVIRONMENT, repository.artifacts) for i in range(20)]
    with repository.writing() as connection:
        for rows in patterns:
            writing.insert_identity(connection, rows.identity)
    for start in range(0, cells, 500):
        with repository.writing() as connection:
            for seed in range(start, min(start + 500, cells)):
                rows, key = patterns[seed % 20], cell_key(spec(seed))
                cell = rows.cell | {"key": key, "seed": seed // 20, "wall_score_s": seed % 977 / 100}
                connection.execute(insert(schema.cell).values(**cell, attempts=1))
                writing.append_attempt(connection, rows.attempt | {"key": key})
                moved = [
                    [dict(row) | {"key": key} for row in listed]
                    for listed in (rows.result.scores, rows.result.curve, rows.result.roc)
                ]
                own = [[row | {"key": key} for row in listed] for listed in (rows.replicates, rows.artifacts)]
                writing.insert_result(connection, replace(rows.result, **dict(zip(CHILDREN, moved, strict=True))), *own)
            writing.raise_revision(connection)


def report(what: str, action: Callable[[], object], budget: float, times: int = 5) -> None:
    """Prints the median time on the clock and of this process; on a busy machine only the second means much."""
    seconds, own = [], []
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        action()
        seconds.append(time.perf_counter() - start)
        own.append(time.process_time() - cpu)
    clock, cpu = statistics.median(seconds), statistics.median(own)
    verdict = "ok" if clock <= budget else "OVER"
    print(f"{what:<54} {clock * 1e3:>9.1f} ms, {cpu * 1e3:>9.1f} ms CPU; budget {budget * 1e3:>6.0f} ms: {verdict}")


def page(repository: Repository, number: int) -> int:
    """A page of cells by cost with their main score, as the raw results show it."""
    cell, score = schema.cell.c, schema.score.c
    columns = (cell.key, cell.entry_id, cell.task_id, cell.status, cell.wall_score_s, cell.finished_at)
    query = select(*columns).order_by(cell.wall_score_s.desc(), cell.key.desc()).limit(100).offset(100 * (number - 1))
    with repository.reading() as connection:
        keys = [row.key for row in connection.execute(query)]
        values = select(score.key, score.value).where(score.key.in_(keys), score.name == "faithfulness_area")
        return len(connection.execute(values).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", type=int, nargs="?", default=10_000)
    cells = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder, Repository.open(Path(folder) / "results.db") as repository:
        start = time.perf_counter()
        fill(repository, cells)
        size = (Path(folder) / "results.db").stat().st_size
        print(f"{cells} cells made in {time.perf_counter() - start:.1f} s, {size / cells / 1024:.1f} kB a cell")
        measured = replace(result(n_draws=2000), curve=CURVE)
        fresh = iter(range(10**9, 10**9 + 1000))
        report(
            "write a cell (2,000 replicates, 100 points)", lambda: store(repository, next(fresh), measured), 0.05, 20
        )
        specs = [spec(seed) for seed in range(0, 20_000, 2)]
        report("plan: keys of 10,000 cells and their statuses", lambda: statuses(repository, specs), 1.0, 3)
        last = cells // 100
        report("the last page of raw results by cost", lambda: page(repository, last), 0.05)
        report("show one cell", lambda: repository.show(cell_key(spec(7))), 0.05)
        repository.put_suite(SuiteRecord("perf", "1", ""), [spec(seed) for seed in range(0, 200)])
        report("boards of 20 entries x 10 cells", lambda: update_boards(repository), 1.0, 3)
        with Repository.open(Path(folder) / "source" / "results.db") as source:
            fill(source, MERGED)
            with Repository.open(Path(folder) / "target" / "results.db") as target:
                report("merge 10,000 cells", lambda: merge(target, source), 60.0, 1)
                report("merge the same 10,000 cells again", lambda: merge(target, source), 60.0, 1)


def store(repository: Repository, seed: int, measured: CellResult) -> None:
    repository.store(spec(seed), attempt(), measured, ENVIRONMENT)


def statuses(repository: Repository, specs: list[CellSpec]) -> int:
    return len(repository.statuses([cell_key(cell) for cell in specs]))


if __name__ == "__main__":
    main()
