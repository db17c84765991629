"""The cells that the validity of the benchmark is judged by: toys whose circuit is known."""

from dataclasses import dataclass, replace
from typing import Final

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.job import Effort
from arithloc.benchmark.runner.suites import ORACLE

BASE: Final = ("toy-a-base-1", "toy-a-base-2", "toy-a-base-3", "toy-a-base-4")
"""Undisturbed compiled circuits."""
STRESS: Final = (
    "toy-a-stress-1",
    "toy-a-stress-3",
    "toy-a-stress-5",
    "toy-a-stress-7",
    "toy-a-stress-9",
    "toy-a-stress-16",
)
"""One circuit for each difficulty: a constant, saturation, a majority, cancellation, a closed gate, another algorithm."""
PRETRAINED_KINDS: Final = ("single_operand",)
"""Counterfactual kinds that are tried on a pretrained model, besides the usual one."""
VARIED: Final = ("toy-a-base-3", "toy-a-stress-9")
"""Circuits on which ablation and counterfactual kind are varied."""
USUAL: Final = "operands"
KINDS: Final = ("single_operand", "column")
"""Counterfactual kinds besides the usual one."""
EFFORT: Final = Effort(n_discovery=32, n_evaluation=64, n_draws=500, n_sizes=16)
METHODS: Final = (
    "random",
    "weight-norm",
    "activation-norm",
    "direct-logit-attribution",
    "gradient-x-activation",
    "ablation-gradient",
    "attribution-patching",
    "eap",
    "eap-ig",
    "eap-ig-activations",
    "clean-corrupted",
    "integrated-gradients",
    "mediation",
    "path-patching",
    ORACLE,
)
"""Built-in methods that score nodes or edges in a few passes; searches and learned masks would take hours."""
PRETRAINED_METHODS: Final = tuple(
    name for name in METHODS if name not in (ORACLE, "eap", "eap-ig-activations", "integrated-gradients")
)
"""Those that score the nodes of a pretrained model without a pass for each step and block."""
PRETRAINED_VARIED: Final = tuple(name for name in PRETRAINED_METHODS if name not in ("eap-ig", "clean-corrupted"))
"""Those of them that are run under other conditions too: what is left has one backward pass at most."""
PRETRAINED_ABLATIONS: Final = (Ablation.MEAN,)
"""Ablations that are tried on a pretrained model, besides the usual one."""
SHUFFLED: Final = "mediation"
"""Method whose scores are shuffled for a submission, and whose circuit stands for the one that was found."""
TASK: Final = "toy-arith"


@dataclass(frozen=True)
class Part:
    """One grid of cells.

    Attributes:
        models: toys.
        tasks: task references.
        ablations: what removed components are replaced with.
        granularity: what is scored.
        methods: which of them are run, where they score that.
    """

    models: tuple[str, ...]
    tasks: tuple[Reference, ...] = (Reference(TASK),)
    ablations: tuple[Ablation, ...] = (Ablation.COUNTERFACTUAL,)
    granularity: Granularity = Granularity.NODE
    methods: tuple[str, ...] = METHODS


PARTS: Final = (
    Part((*BASE, *STRESS)),
    Part(VARIED, ablations=(Ablation.MEAN, Ablation.ZERO, Ablation.RESAMPLE)),
    Part(VARIED, tasks=tuple(Reference(TASK, (("kind", kind),)) for kind in KINDS)),
    Part(BASE, granularity=Granularity.EDGE),
)


@dataclass(frozen=True)
class Tier:
    """Circuits over which agreement is averaged; tiers are never pooled.

    Attributes:
        name: for the tables.
        models: toys.
        granularity: what is scored.
    """

    name: str
    models: tuple[str, ...]
    granularity: Granularity


TIERS: Final = (
    Tier("base, nodes", BASE, Granularity.NODE),
    Tier("stress, nodes", STRESS, Granularity.NODE),
    Tier("base, edges", BASE, Granularity.EDGE),
)


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model on a question that it answers; its circuit is not known.

    Attributes:
        model: registered name, folder or id.
        task: reference of a prompt task that has the counterfactual kinds of `PRETRAINED_KINDS`.
    """

    model: str
    task: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """The usual cells, other ablations, other kinds."""
        asked = Reference.parse(self.task)
        usual = Part((self.model,), (asked,), methods=PRETRAINED_METHODS)
        varied = replace(usual, methods=PRETRAINED_VARIED)
        kinds = tuple(asked.with_options({"kind": kind}) for kind in PRETRAINED_KINDS)
        return usual, replace(varied, ablations=PRETRAINED_ABLATIONS), replace(varied, tasks=kinds)
