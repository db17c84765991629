"""Operations on a subject model's internals: the only place with hooks."""

from arithloc.benchmark.engine.batching import Batcher
from arithloc.benchmark.engine.capture import Capture, capture
from arithloc.benchmark.engine.circuits import circuit_forward
from arithloc.benchmark.engine.direct import direct_effect
from arithloc.benchmark.engine.meter import Meter
from arithloc.benchmark.engine.patch import Intervention, patch
from arithloc.benchmark.engine.read import read
from arithloc.benchmark.engine.readings import METRICS, Readings
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding, sites_of
from arithloc.benchmark.engine.sweep import sweep

ENGINE_VERSION = 1
"""Raised when a change may alter results beyond rounding: part of the key of every cell."""

__all__ = [
    "ENGINE_VERSION",
    "METRICS",
    "Batcher",
    "Capture",
    "Intervention",
    "Meter",
    "Readings",
    "Site",
    "SiteKind",
    "capture",
    "circuit_forward",
    "direct_effect",
    "embedding",
    "patch",
    "read",
    "sites_of",
    "sweep",
]
