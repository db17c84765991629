"""Pairs of cells that two entries answered on the same data: what a paired comparison needs."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sqlalchemy import Connection, select

from arithloc.benchmark.api.errors import BadOption, UnknownName, UsageError, quoted
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.boards import LOGARITHMIC, NOT_REACHED
from arithloc.benchmark.storage.records import Direction
from arithloc.benchmark.storage.repository import Repository

_COORDINATES = ("task", "model", "granularity", "ablation")


@dataclass(frozen=True)
class EntryName:
    """An entry of a database."""

    entry_id: str
    title: str
    method: str


@dataclass(frozen=True, eq=False)
class SharedCell:
    """One question that both entries answered; seeds are averaged.

    Attributes:
        task, task_options, model, granularity, ablation: the question.
        a, b: values, logarithms where `logarithmic`.
        a_replicates, b_replicates: bootstrap replicates from the same resamples.
        a_seeds, b_seeds: value of each seed.
        n_pairs, n_clusters: test pairs and clusters behind both.
        direction: which way the score is better.
        logarithmic: values are logarithms, so that a difference is that of a ratio.
    """

    task: str
    task_options: Mapping[str, Any]
    model: str
    granularity: str
    ablation: str
    a: float
    b: float
    a_replicates: Float[ndarray, " rep"]
    b_replicates: Float[ndarray, " rep"]
    a_seeds: tuple[float, ...]
    b_seeds: tuple[float, ...]
    n_pairs: int
    n_clusters: int
    direction: Direction
    logarithmic: bool


@dataclass(frozen=True)
class Filter:
    """Which questions; an empty field does not restrict."""

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    granularities: Sequence[str] = ()
    ablations: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class _Row:
    """A finished cell with one score."""

    key: str
    question: str
    seed: int
    coordinates: tuple[str, ...]
    task_options: str
    value: float
    n_pairs: int
    n_clusters: int
    direction: str
    replicates: Float[ndarray, " rep"]


def find_entry(repository: Repository, name: str) -> EntryName:
    """The entry that an id, a title, or the name of a method with one entry stands for.

    Raises:
        UnknownName: nothing of that name has a cell here.
        UsageError: several entries have it; their ids are in the message.
    """
    e, m = schema.entry.c, schema.method.c
    query = select(e.entry_id, e.title, m.name).join_from(schema.entry, schema.method).order_by(e.entry_id)
    with repository.reading() as connection:
        entries = [EntryName(*row) for row in connection.execute(query)]
    for field in ("entry_id", "title", "method"):
        found = [entry for entry in entries if getattr(entry, field) == name]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{entry.entry_id} ({entry.title})" for entry in found[:6])
            raise UsageError(f"Several entries are called {quoted(name)}. Name one by its id: {listed}.")
    raise UnknownName.among("entry of this database", name, {entry.title for entry in entries})


def shared_cells(
    repository: Repository, a: EntryName, b: EntryName, score: str, wanted: Filter | None = None
) -> list[SharedCell]:
    """Every question that both entries answered with this score, by task, model, granularity and ablation.

    Raises:
        BadOption: the score has no replicates in these cells.
        UsageError: the entries have no common cell, or their common cells were measured on different pairs.
    """
    wanted = wanted or Filter()
    with repository.reading() as connection:
        if not _is_ranked(connection, score):
            replicate = schema.replicate.c
            known = list(connection.scalars(select(replicate.name).distinct()))
            raise BadOption(
                f"Expected a score with bootstrap replicates ({', '.join(sorted(known)) or 'this database has none'}), "
                f"found {quoted(score)}."
            )
        first, second = (_answers(connection, entry.entry_id, score, wanted) for entry in (a, b))
    common = sorted(first.keys() & second.keys(), key=lambda question: first[question][0].coordinates)
    if not common:
        raise UsageError(
            f"{a.title} and {b.title} have no common cell with {score}: {_told(a, first)}, {_told(b, second)}. "
            "Run both on the same task and model with 'bench evaluate', or leave filters out."
        )
    found = []
    for question in common:
        found.append(_shared(first[question], second[question], a, b, score))
    return found


def _is_ranked(connection: Connection, score: str) -> bool:
    return (
        connection.scalar(select(schema.replicate.c.name).where(schema.replicate.c.name == score).limit(1)) is not None
    )


def _answers(connection: Connection, entry_id: str, score: str, wanted: Filter) -> dict[str, list[_Row]]:
    """Cells of an entry that have the score, by question."""
    c, s, r, t, m = schema.cell.c, schema.score.c, schema.replicate.c, schema.task.c, schema.model.c
    query = (
        select(
            c.key, c.question, c.seed, t.name.label("task"), m.name.label("model"), c.granularity, c.ablation,
            t.options_json, s.value, s.reason, s.n_pairs, s.n_clusters, s.direction, r.data,
        )
        .join_from(schema.cell, schema.score, s.key == c.key)
        .join(schema.replicate, (r.key == s.key) & (r.name == s.name))
        .join(schema.task, c.task_id == t.task_id)
        .join(schema.model, c.model_id == m.model_id)
        .where(c.entry_id == entry_id, c.status == "ok", s.name == score)
        .order_by(c.question, c.seed, c.key)
    )  # fmt: skip
    for column, names in (
        (t.name, wanted.tasks),
        (m.name, wanted.models),
        (c.granularity, wanted.granularities),
        (c.ablation, wanted.ablations),
    ):
        if names:
            query = query.where(column.in_(names))
    found: dict[str, list[_Row]] = defaultdict(list)
    for row in connection.execute(query):
        value = row.value
        if score in LOGARITHMIC:
            value = math.log(value) if value is not None else 0.0 if row.reason == NOT_REACHED else None
        if value is not None:
            draws = np.frombuffer(row.data, "<f8").astype(np.float64)
            coordinates = tuple(getattr(row, name) for name in _COORDINATES)
            found[row.question].append(
                _Row(
                    row.key, row.question, row.seed, coordinates, row.options_json, value, row.n_pairs, row.n_clusters,
                    row.direction, draws,
                )
            )  # fmt: skip
    return dict(found)


def _shared(first: Sequence[_Row], second: Sequence[_Row], a: EntryName, b: EntryName, score: str) -> SharedCell:
    sizes = {(row.n_pairs, row.n_clusters, len(row.replicates)) for row in (*first, *second)}
    if len(sizes) > 1:
        raise UsageError(
            f"Expected {a.title} and {b.title} to be measured on the same pairs, found cells of {first[0].key[:10]} and "
            f"{second[0].key[:10]} with different numbers of them. Run one of the two again."
        )
    n_pairs, n_clusters, _ = sizes.pop()
    row = first[0]
    return SharedCell(
        **dict(zip(_COORDINATES, row.coordinates, strict=True)),
        task_options=json.loads(row.task_options),
        a=float(np.mean([one.value for one in first])),
        b=float(np.mean([one.value for one in second])),
        a_replicates=np.mean([one.replicates for one in first], axis=0),
        b_replicates=np.mean([one.replicates for one in second], axis=0),
        a_seeds=tuple(one.value for one in first),
        b_seeds=tuple(one.value for one in second),
        n_pairs=n_pairs,
        n_clusters=n_clusters,
        direction=Direction(row.direction),
        logarithmic=score in LOGARITHMIC,
    )


def _told(entry: EntryName, answers: Mapping[str, Sequence[_Row]]) -> str:
    places = sorted({", ".join(rows[0].coordinates) for rows in answers.values()})
    if not places:
        return f"{entry.title} has none that fits"
    more = " ..." if len(places) > 3 else ""
    return f"{entry.title} has {'; '.join(places[:3])}{more}"
