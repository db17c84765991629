"""What a board asks for: a set of questions, each with its seeds and weight."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from arithloc.benchmark.storage import keys, schema, writing
from arithloc.benchmark.storage.cellrows import model_row, task_row
from arithloc.benchmark.storage.records import CellSpec
from arithloc.benchmark.storage.text import cut, now


@dataclass(frozen=True)
class SuiteRecord:
    """Name of a set of questions.

    The questions are those of the cells it is stored with, whatever their method: task, data, model, granularity,
    ablation, effort and versions. The same name with other questions (another floating-point type, say) is another
    suite with its own boards.

    Attributes:
        name: as `--suite` takes it, or a word for a grid of the command line.
        version: of the named suite.
        title: one line.
    """

    name: str
    version: str
    title: str


def suite_id(record: SuiteRecord, specs: Sequence[CellSpec]) -> str:
    """Id of a suite: hash of its name, version, questions and seeds."""
    return keys.short_hash([record.name, record.version, sorted(_asked(specs))])


def _asked(specs: Sequence[CellSpec]) -> set[tuple[str, int]]:
    return {(keys.question_key(spec), spec.seed) for spec in specs}


def put_suite(connection: Connection, record: SuiteRecord, specs: Sequence[CellSpec]) -> str:
    """Stores a suite, once; returns its id.

    Args:
        connection: inside a writing transaction.
        record: its name.
        specs: at least one cell of each question and seed, of any method. Questions weigh the same, whatever their seeds.
    """
    name = suite_id(record, specs)
    if connection.scalar(select(schema.suite.c.suite_id).where(schema.suite.c.suite_id == name)) is not None:
        return name
    rows = {}
    seeds = Counter(question for question, _ in _asked(specs))
    for spec in specs:
        writing.insert_identity(connection, [task_row(spec.task), model_row(spec.model)])
        rows[keys.question_key(spec), spec.seed] = {
            "suite_id": name,
            "question": keys.question_key(spec),
            "seed": spec.seed,
            "task_id": keys.task_id(spec.task),
            "model_id": keys.model_id(spec.model),
            "granularity": spec.granularity.value,
            "ablation": spec.ablation.value,
            "weight": 1.0 / seeds[keys.question_key(spec)],
        }
    suite = {
        "suite_id": name,
        "name": record.name,
        "version": record.version,
        "title": cut(record.title),
        "created_at": now(),
    }
    writing.insert_new(connection, schema.suite, [suite])
    writing.insert_new(connection, schema.suite_cell, list(rows.values()))
    writing.raise_revision(connection)
    return name
