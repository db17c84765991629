"""The stored component scores of a cell, with the space that they belong to."""

import json
from dataclasses import replace

import numpy as np
from sqlalchemy import select

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape, Scores
from arithloc.benchmark.api.edges import total_weight
from arithloc.benchmark.api.errors import StorageError
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository


def component_scores(repository: Repository, key: str) -> Scores:
    """The component scores of a cell; vocabulary and head width are not stored and are 0 in the shape.

    Raises:
        StorageError: the cell has no scores, or they do not fit its model.
        ArtifactMissing: their file is gone.
        ArtifactCorrupt: it was changed.
    """
    m, c, link = schema.model.c, schema.cell.c, schema.cell_artifact.c
    query = (
        select(
            m.n_layers, m.n_heads, m.n_kv_heads, m.d_model, m.d_mlp, m.n_edges, c.granularity, c.positions_json,
            link.sha256,
        )
        .join_from(schema.cell, schema.model)
        .join(schema.cell_artifact, link.key == c.key)
        .where(c.key == key, link.role == "scores")
    )  # fmt: skip
    with repository.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise StorageError(f"Cell {key[:12]} has no component scores. Run it again with 'bench evaluate --retry'.")
    shape = ModelShape(row.n_layers, row.n_heads, row.n_kv_heads, row.d_model, d_head=0, d_mlp=row.d_mlp, vocab=0)
    if row.n_edges != total_weight(shape):  # the one thing about the graph that has no column of its own
        shape = replace(shape, parallel=True)
    space = ComponentSpace(Granularity(row.granularity), shape, tuple(json.loads(row.positions_json)))
    values = np.asarray(repository.artifacts.arrays(row.sha256)["scores"], np.float64)
    if values.shape != (len(space),):
        raise StorageError(
            f"Expected {len(space)} component scores for cell {key[:12]}, found {values.shape}. Run the cell again."
        )
    return Scores(space, values)
