"""Loading subject models and describing their anatomy."""

from arithloc.benchmark.models.anatomy import FAMILIES, Anatomy, QKNorm, QKVLayout, anatomy_of
from arithloc.benchmark.models.cache import default_cache
from arithloc.benchmark.models.loading import DTYPES, load
from arithloc.benchmark.models.subject import HeadRows, ModelIdentity, SubjectModel, wrap
from arithloc.benchmark.models.validate import validate

__all__ = [
    "DTYPES",
    "FAMILIES",
    "Anatomy",
    "HeadRows",
    "ModelIdentity",
    "QKNorm",
    "QKVLayout",
    "SubjectModel",
    "anatomy_of",
    "default_cache",
    "load",
    "validate",
    "wrap",
]
