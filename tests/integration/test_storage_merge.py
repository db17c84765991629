"""Merging: idempotent, the same in either order, all or nothing."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select
from support import demo
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.api.errors import ArtifactCorrupt, MergeConflict, StorageError
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.integrity import orphans, problems
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.merge import Merged, Prefer, merge
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository

KEY = cell_key(SPEC)
LATER = {"started_at": "2026-02-01T00:00:00.000Z", "finished_at": "2026-02-01T00:00:01.000Z"}


def content(repository, *, without=("meta", "revision", "schema_migration", "board", "board_row")):
    """All rows, but for when identity rows were written."""
    rows = {}
    with repository.reading() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name not in without:
                columns = [column for column in table.c if column.name != "created_at"]
                rows[table.name] = sorted(map(tuple, connection.execute(select(*columns))), key=repr)
    return rows


@pytest.fixture
def make(tmp_path):
    """Makes databases with the given (spec, attempt, result); they are closed at the end."""
    opened = []

    def made(name, *outcomes):
        repository = Repository.open(tmp_path / name / "results.db")
        opened.append(repository)
        for outcome in outcomes:
            repository.store(*outcome, ENVIRONMENT)
        return repository

    yield made
    for repository in opened:
        repository.close()


def spec(seed):
    return replace(SPEC, seed=seed)


def test_everything_arrives_and_a_second_time_nothing_happens(make, tmp_path):
    demo.build(tmp_path / "demo" / "results.db")
    source, target = Repository.open(tmp_path / "demo" / "results.db"), make("target")
    assert merge(target, source) == Merged(added=83, replaced=0, kept=0, disputed=0)
    assert content(target) == content(source)
    assert problems(target) == [] == orphans(target)
    before = target.revision()
    assert merge(target, source) == Merged(added=0, replaced=0, kept=83, disputed=0)
    assert (content(target), target.revision()) == (content(source), before)
    source.close()


def test_either_order_gives_the_same_results(make):
    close = result(shift=3e-5)
    parts = {
        "one": [
            (spec(0), attempt(**LATER), result()),
            (spec(1), attempt(Status.FAILED), None),
            (spec(2), attempt(Status.TIMEOUT), None),
            (spec(3), attempt(), result()),
            (spec(4), attempt(), result()),
        ],
        "two": [
            (spec(0), attempt(), close),
            (spec(1), attempt(**LATER), result()),
            (spec(2), attempt(Status.FAILED, **LATER), None),
            (spec(3), attempt(**LATER), result()),
            (spec(5), attempt(), result()),
        ],
    }
    merged = []
    for order in (("one", "two"), ("two", "one")):
        target = make("-".join(order))
        for name in order:
            merge(target, make(f"{name}-of-{'-'.join(order)}", *parts[name]))
        merged.append(content(target))
        assert problems(target) == []
    assert merged[0] == merged[1]
    with target.reading() as connection:
        cell, attempts = schema.cell.c, schema.attempt.c
        rows = {row.seed: row for row in connection.execute(select(schema.cell))}
        history = connection.execute(
            select(attempts.number, attempts.status).where(attempts.key == rows[1].key).order_by(attempts.number)
        ).all()
        assert connection.scalar(select(cell.attempts).where(cell.seed == 4)) == 1
    assert {seed: row.status for seed, row in rows.items()} == {
        0: "ok", 1: "ok", 2: "failed", 3: "ok", 4: "ok", 5: "ok",
    }  # fmt: skip
    assert rows[0].note == "agrees within tolerance"
    assert [rows[seed].finished_at[:7] for seed in (0, 1, 2, 3)] == ["2026-01", "2026-02", "2026-02", "2026-01"]
    assert history == [(1, "failed"), (2, "ok")]
    assert rows[1].attempts == 2


def test_a_conflict_leaves_the_target_unchanged(make):
    target = make("target", (SPEC, attempt(), result()))
    source = make("source", (spec(1), attempt(), result()), (SPEC, attempt(**LATER), result(shift=0.5)))
    before, revision = content(target), target.revision()
    with pytest.raises(MergeConflict, match=rf"1 ok results .*{KEY[:12]}.*0\.5.*--prefer"):
        merge(target, source)
    assert (content(target), target.revision()) == (before, revision)


@pytest.mark.parametrize(("prefer", "kept"), [(Prefer.FIRST, 0.0), (Prefer.SECOND, 0.5)])
def test_a_person_can_decide_a_conflict(make, prefer, kept):
    target = make("target", (SPEC, attempt(), result()))
    source = make("source", (SPEC, attempt(**LATER), result(shift=0.5)))
    answer = merge(target, source, prefer)
    assert answer.disputed == 1
    assert answer.replaced == (prefer is Prefer.SECOND)
    (cell,) = target.cells()
    assert cell.scores["faithfulness_area"].value == result(shift=kept).scores[0].value
    assert cell.note == "preferred to a result that differs by 0.5"
    assert problems(target) == []


def test_a_damaged_source_is_not_merged(make):
    target, source = make("target"), make("source", (SPEC, attempt(), result()))
    (file, *_) = source.artifacts.root.glob("*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt):
        merge(target, source)
    assert target.cells() == []
    with closing(sqlite3.connect(source.location.file)) as raw:  # without foreign_keys=ON
        raw.execute("DELETE FROM entry")
        raw.commit()
    with pytest.raises(StorageError, match="not merged because it is damaged: Row"):
        merge(target, source)
    assert target.cells() == []


def test_parts_of_a_run_come_together(make):
    whole = make("whole", *((spec(i), attempt(), result(i)) for i in range(7)))
    target = make("target")
    for part in range(3):
        outcomes = [(spec(i), attempt(), result(i)) for i in range(7) if int(cell_key(spec(i))[:16], 16) % 3 == part]
        merge(target, make(f"part{part}", *outcomes))
    assert content(target) == content(whole)


@pytest.mark.parametrize("trial", range(4))
def test_random_histories_merge_to_the_same_in_either_order(make, trial):
    generator = np.random.default_rng(trial)

    def history(key):
        """Up to three attempts at a cell, in the order of time, with results that agree within tolerance."""
        outcomes = []
        for day in sorted(generator.choice(28, generator.integers(0, 4), replace=False) + 1):
            status = Status(generator.choice([status.value for status in Status]))
            times = {name: f"2026-02-{day:02d}T00:00:0{i}.000Z" for i, name in enumerate(("started_at", "finished_at"))}
            shift = float(generator.choice([0.0, 1e-5, 3e-5]))
            measured = result(shift=shift) if status is Status.OK else None
            outcomes.append((spec(key), attempt(status, **times), measured))
        return outcomes

    sides = {name: [outcome for key in range(6) for outcome in history(key)] for name in ("one", "two")}
    merged = []
    for order in (("one", "two"), ("two", "one"), ("one", "two", "one")):
        label = "-".join(order)
        target = make(label)
        for i, name in enumerate(order):
            merge(target, make(f"{i}-of-{label}", *sides[name]))
        merged.append(content(target))
        assert problems(target) == []
    assert merged[0] == merged[1] == merged[2]
