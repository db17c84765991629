"""The results database; never imports torch.

`repository.Repository` is the way in; `connection` opens databases, `schema` holds the tables, `records` what goes in.
"""

DEFAULT_DB = "results/results.db"
"""The database of a run that names none."""
