"""What a plugin author imports: types, contracts, errors. Nothing here imports torch."""

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.errors import (
    ArithlocError,
    BadScores,
    TokenizerMismatch,
    TooFewPairs,
    UnsupportedGranularity,
)
from arithloc.benchmark.api.method import Method, MethodInfo, Problem, Progress
from arithloc.benchmark.api.model import ModelSource
from arithloc.benchmark.api.prompts import SHOT, PromptPair, data_hash
from arithloc.benchmark.api.scores import Scores
from arithloc.benchmark.api.task import Gate, Task, TaskInfo
from arithloc.benchmark.api.vocabulary import Ablation, Granularity, Split

__all__ = [
    "SHOT",
    "Ablation",
    "ArithlocError",
    "BadScores",
    "ComponentSpace",
    "Gate",
    "Granularity",
    "Method",
    "MethodInfo",
    "ModelShape",
    "ModelSource",
    "Problem",
    "Progress",
    "PromptPair",
    "Scores",
    "Split",
    "Task",
    "TaskInfo",
    "TokenizerMismatch",
    "TooFewPairs",
    "UnsupportedGranularity",
    "data_hash",
]
