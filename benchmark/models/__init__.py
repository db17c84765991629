"""Loading subject models and describing their anatomy.

The names below are looked up when they are first used, so that listing the registered models loads no numerical
library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arithloc.benchmark.models.anatomy import FAMILIES, Anatomy, QKNorm, QKVLayout, anatomy_of
    from arithloc.benchmark.models.cache import default_cache
    from arithloc.benchmark.models.identity import ModelIdentity
    from arithloc.benchmark.models.loading import DTYPES, load, load_tokenizer
    from arithloc.benchmark.models.subject import HeadRows, SubjectModel, wrap
    from arithloc.benchmark.models.validation import validate

_HOMES = {
    "DTYPES": "loading",
    "FAMILIES": "anatomy",
    "Anatomy": "anatomy",
    "HeadRows": "subject",
    "ModelIdentity": "identity",
    "QKNorm": "anatomy",
    "QKVLayout": "anatomy",
    "SubjectModel": "subject",
    "anatomy_of": "anatomy",
    "default_cache": "cache",
    "load": "loading",
    "load_tokenizer": "loading",
    "validate": "validation",
    "wrap": "subject",
}

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
    "load_tokenizer",
    "validate",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
