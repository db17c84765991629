"""Cells that differ from one in a single respect: its seed, its ablation, or its task."""

from dataclasses import dataclass

from sqlalchemy import select

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository

_SAME = ("entry_id", "model_id", "granularity", "positions_json", "metric", "dtype", "n_draws", "n_sizes")
_DATA = ("task_id", "discovery_hash", "evaluation_hash")


@dataclass(frozen=True)
class Relatives:
    """Keys of finished cells of the same entry and model.

    Attributes:
        seeds: other seed, same task and ablation.
        ablations: other ablation, same task and seed.
        tasks: other task, same ablation and seed.
    """

    seeds: tuple[str, ...]
    ablations: tuple[str, ...]
    tasks: tuple[str, ...]


def relatives(repository: Repository, key: str) -> Relatives:
    """The relatives of a cell."""
    cell = schema.cell
    columns = [cell.c[name] for name in ("key", "seed", "ablation", *_SAME, *_DATA)]
    with repository.reading() as connection:
        own = connection.execute(select(*columns).where(cell.c.key == key)).one()
        same = [cell.c[name] == getattr(own, name) for name in _SAME]
        query = select(*columns).where(cell.c.status == "ok", cell.c.key != key, *same).order_by(cell.c.key)
        found = connection.execute(query).all()
    seeds, ablations, tasks = [], [], []
    for row in found:
        same_data = all(getattr(row, name) == getattr(own, name) for name in _DATA)
        if same_data and row.ablation == own.ablation:
            seeds.append(row.key)
        elif same_data and row.seed == own.seed:
            ablations.append(row.key)
        elif row.task_id != own.task_id and (row.seed, row.ablation) == (own.seed, own.ablation):
            tasks.append(row.key)
    return Relatives(tuple(seeds), tuple(ablations), tuple(tasks))
