"""Identity of the oracle row, apart from its computation so that plans need no model code."""

import hashlib
from pathlib import Path

from arithloc.benchmark.api import Granularity
from arithloc.benchmark.api.registry import OWN
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.storage.records import MethodRecord

GRANULARITIES = (Granularity.NODE,)

RECORD = MethodRecord(
    name=ORACLE,
    version="1",
    distribution=OWN,
    source_hash=hashlib.sha256(Path(__file__).with_name("oracle.py").read_bytes()).hexdigest(),
    options={},
    granularities=tuple(GRANULARITIES),
    access="truth",
    summary="Ranks by the proven circuit: what a perfect method would reach. Toy models only, never ranked.",
    reference="",
    sanity=True,
)
