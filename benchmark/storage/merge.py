"""Brings the results of one database into another: the way parts of a run on many machines come together."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, inspect, select, update

from arithloc.benchmark.api.errors import MergeConflict, StorageError
from arithloc.benchmark.storage import schema, writing
from arithloc.benchmark.storage.digest import largest_difference, tolerance
from arithloc.benchmark.storage.integrity import problems
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository

_CHUNK = 200
_IDENTITY = (
    schema.method, schema.entry, schema.task, schema.model, schema.dataset, schema.environment, schema.artifact,
    schema.truth, schema.truth_component, schema.suite, schema.suite_cell,
)  # fmt: skip
_OF_CELL = (
    schema.cell, schema.score, schema.curve_point, schema.roc_point, schema.replicate, schema.cell_artifact,
)  # fmt: skip


class Prefer(StrEnum):
    """Which of two ok results to keep where they differ beyond tolerance."""

    FIRST = "first"
    """That of the target."""
    SECOND = "second"
    """That of the source."""


@dataclass(frozen=True)
class Merged:
    """What a merge did, in numbers of cells.

    Attributes:
        added: were not in the target.
        replaced: the source's row took the place of the target's.
        kept: the target's row stayed.
        disputed: of these, pairs of ok results that differ beyond tolerance, decided by `prefer`.
    """

    added: int
    replaced: int
    kept: int
    disputed: int


@dataclass(frozen=True)
class _Side:
    """What a verdict needs of a cell row; fields are named as its columns."""

    key: str
    status: str
    result_digest: str | None
    dtype: str
    finished_at: str
    env_hash: str

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts rows from the earliest; never equal for two different results."""
        return self.finished_at, self.env_hash, self.result_digest or ""


@dataclass(frozen=True)
class _Verdict:
    """How one key that both sides have is settled; `note` is added to the row that stays."""

    take_source: bool
    difference: float | None = None
    note: str = ""


def merge(target: Repository, source: Repository, prefer: Prefer | None = None) -> Merged:
    """Merges all results of `source` into `target`, in one transaction; boards are left to be computed again.

    Of two ok results the earlier is kept, an ok result wins over one that is not, and of two that are not ok the later
    wins; histories are united. Merging again changes nothing, and either order of two sources gives the same results.

    Args:
        target: open for writing.
        source: another database; it is only read.
        prefer: what to do with ok results that differ beyond tolerance.

    Raises:
        MergeConflict: there are such results and `prefer` is None; the target is unchanged.
        StorageError: the source is damaged; the target is unchanged.
    """
    wrong = problems(source, contents=False)
    if wrong:
        raise StorageError(f"{source.location.shown} is not merged because it is damaged: {wrong[0]}")
    with source.reading() as reading:
        for sha256, kind, media_type in reading.execute(
            select(schema.artifact.c.sha256, schema.artifact.c.kind, schema.artifact.c.media_type)
        ):
            target.artifacts.put(source.artifacts.get(sha256, media_type), kind, media_type)
        with target.writing() as writing_to:
            verdicts = {
                key: verdict
                for chunk in _chunks(reading)
                for key, verdict in _compare(writing_to, reading, chunk, prefer).items()
            }
            _refuse_conflicts(verdicts, source, prefer)
            return _write(writing_to, reading, verdicts)


def _chunks(source: Connection) -> Iterator[list[str]]:
    last = ""
    while True:
        cell = schema.cell.c
        chunk = list(source.scalars(select(cell.key).where(cell.key > last).order_by(cell.key).limit(_CHUNK)))
        if not chunk:
            return
        yield chunk
        last = chunk[-1]


def _compare(target: Connection, source: Connection, keys: Sequence[str], prefer: Prefer | None) -> dict[str, _Verdict]:
    """Verdicts on those of the keys that both sides have."""
    ours, theirs = _sides(target, keys), _sides(source, keys)
    return {key: _judge(target, source, ours[key], theirs[key], prefer) for key in keys if key in ours}


def _sides(connection: Connection, keys: Sequence[str]) -> dict[str, _Side]:
    cell = schema.cell
    query = select(*(cell.c[field.name] for field in fields(_Side))).where(cell.c.key.in_(keys))
    return {row.key: _Side(*row) for row in connection.execute(query)}


def _judge(target: Connection, source: Connection, ours: _Side, theirs: _Side, prefer: Prefer | None) -> _Verdict:
    ok = Status.OK.value
    if ours.status != ok and theirs.status != ok:
        return _Verdict(take_source=theirs.age > ours.age)
    if ours.status != ok or theirs.status != ok:
        return _Verdict(take_source=theirs.status == ok)
    earlier = theirs.age < ours.age
    if ours.result_digest == theirs.result_digest:
        return _Verdict(take_source=earlier)
    first, second = writing.read_result(target, ours.key), writing.read_result(source, theirs.key)
    difference = largest_difference(*((second, first) if earlier else (first, second)))
    if difference <= tolerance(ours.dtype):
        return _Verdict(take_source=earlier, note="agrees within tolerance")
    settled = f"preferred to a result that differs by {difference:.3g}"
    return _Verdict(take_source=prefer is Prefer.SECOND, difference=difference, note=settled)


def _refuse_conflicts(verdicts: Mapping[str, _Verdict], source: Repository, prefer: Prefer | None) -> None:
    differing = {key: verdict.difference for key, verdict in verdicts.items() if verdict.difference is not None}
    if prefer is None and differing:
        worst = max(differing, key=lambda key: differing[key])
        listed = ", ".join(key[:12] for key in sorted(differing)[:5]) + (" ..." if len(differing) > 5 else "")
        raise MergeConflict(
            f"{len(differing)} ok results of {source.location.shown} differ beyond tolerance from those here: {listed}; "
            f"the largest difference is {differing[worst]:.3g}, of {worst[:12]}. Nothing was merged: compare them with "
            "'bench show', then merge with --prefer first or --prefer second."
        )


def _write(target: Connection, source: Connection, verdicts: Mapping[str, _Verdict]) -> Merged:
    changed = entries = added = 0
    for table in _IDENTITY:
        for rows in source.execute(select(table)).mappings().partitions(_CHUNK):
            new = writing.insert_new(target, table, [dict(row) for row in rows])
            changed += new
            entries += new if table is schema.entry else 0
    for chunk in _chunks(source):
        fresh = [key for key in chunk if key not in verdicts]
        taken = [key for key in chunk if key in verdicts and verdicts[key].take_source]
        notes = {key: _notes(target, source, key) for key in chunk if key in verdicts}
        for key in taken:
            writing.delete_cell(target, key)
        _copy(target, source, [*fresh, *taken])
        for key, old in notes.items():
            changed += _write_notes(target, key, old, verdicts[key].note)
        changed += len(fresh) + len(taken) + _unite_attempts(target, source, chunk)
        added += len(fresh)
    for table in (schema.accuracy, schema.circuit_test):
        if inspect(source).has_table(table.name):  # not in a database of an older arithloc
            for rows in source.execute(select(table)).mappings().partitions(_CHUNK):
                changed += writing.insert_new(target, table, [dict(row) for row in rows])
    if changed:
        writing.raise_revision(target, entries)
    replaced = sum(verdict.take_source for verdict in verdicts.values())
    disputed = sum(verdict.difference is not None for verdict in verdicts.values())
    return Merged(added, replaced, len(verdicts) - replaced, disputed)


def _copy(target: Connection, source: Connection, keys: Sequence[str]) -> None:
    for table in _OF_CELL:
        rows = source.execute(select(table).where(table.c.key.in_(keys))).all()
        statement = insert(table).compile(dialect=target.dialect)
        if rows and statement.positional:  # past SQLAlchemy's bookkeeping for each row: half the time of a merge
            target.exec_driver_sql(str(statement), [tuple(row) for row in rows])
        elif rows:
            target.execute(insert(table), [dict(row._mapping) for row in rows])


def _notes(target: Connection, source: Connection, key: str) -> set[str]:
    """Sentences of both notes."""
    query = select(schema.cell.c.note).where(schema.cell.c.key == key)
    both = (connection.execute(query).scalar_one() for connection in (target, source))
    return {sentence for note in both for sentence in note.split("; ") if sentence}


def _write_notes(target: Connection, key: str, old: set[str], new: str) -> int:
    text = "; ".join(sorted(old | ({new} if new else set())))
    cell = schema.cell
    return target.execute(update(cell).where(cell.c.key == key, cell.c.note != text).values(note=text)).rowcount


def _unite_attempts(target: Connection, source: Connection, keys: Sequence[str]) -> int:
    """Gives each key the history of both sides, in the order of time; returns how many keys that changed."""
    ours, theirs = _histories(target, keys), _histories(source, keys)
    table: Table = schema.attempt
    names = [column.name for column in table.c if column.name not in ("key", "number")]
    changed = 0
    for key in keys:
        united = ours.get(key, Counter()) | theirs.get(key, Counter())
        if united == ours.get(key):
            continue
        changed += 1
        target.execute(delete(table).where(table.c.key == key))
        started = names.index("started_at")
        ordered = sorted(united.elements(), key=lambda row: (row[started], [str(value) for value in row]))
        rows = [{"key": key, "number": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(ordered, 1)]
        target.execute(insert(table), rows)
    count = select(func.count()).select_from(table).where(table.c.key == schema.cell.c.key).scalar_subquery()
    target.execute(update(schema.cell).where(schema.cell.c.key.in_(keys)).values(attempts=count))
    return changed


def _histories(connection: Connection, keys: Sequence[str]) -> dict[str, Counter[tuple[Any, ...]]]:
    table = schema.attempt
    columns = [column for column in table.c if column.name not in ("key", "number")]
    found: dict[str, Counter[tuple[Any, ...]]] = {}
    for key, *values in connection.execute(select(table.c.key, *columns).where(table.c.key.in_(keys))):
        found.setdefault(key, Counter())[tuple(values)] += 1
    return found
