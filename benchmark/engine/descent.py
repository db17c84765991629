"""One forward and one backward of a batch, from a point of a path between two runs."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arithloc.benchmark.api import SHOT, PromptPair
from arithloc.benchmark.api.errors import UnknownName
from arithloc.benchmark.engine import meter
from arithloc.benchmark.engine.batching import ids_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.forward import last_logits
from arithloc.benchmark.engine.readings import as_logits
from arithloc.benchmark.engine.sites import Site, SiteKind, hook
from arithloc.benchmark.models import SubjectModel

Key = TypeVar("Key")
Watch = Callable[[ExitStack, dict[Key, Tensor]], None]
"""Registers hooks, to be removed by the stack, that put tensors of the graph into the dictionary."""

DIFFERENTIABLE = ("logit_diff", "logprob", "prob", "kl")
"""Metrics that have a gradient."""
Rule = Literal["right", "midpoint", "left"]
"""Where in its m-th part of the path a point lies: `right` includes the run itself, `left` the baseline."""
_OFFSETS = {"right": 0.0, "midpoint": 0.5, "left": 1.0}
PASSES = 3
"""Forward-equivalents of one forward with its backward."""


def check_metric(metric: str) -> None:
    """Raises UnknownName for a metric without gradient."""
    if metric not in DIFFERENTIABLE:
        raise UnknownName.among("differentiable metric", metric, DIFFERENTIABLE)


def without_gradient(value: Tensor) -> Tensor:
    """The same numbers, through which a gradient of zeros goes back: unlike a detached tensor still part of the graph."""
    return value.detach() + 0.0 * (value - value.detach())


class Descent:
    """Gradients of one batch.

    Args:
        model: the subject model.
        pairs: pairs of equal length.
        run: the prompts whose tokens are run; a path moves their activations.
        metric: one of `DIFFERENTIABLE`.
        stopped: blocks whose attention and MLP pass no gradient back; the activations stay what they are.
    """

    def __init__(
        self, model: SubjectModel, pairs: list[PromptPair], run: Run, metric: str, stopped: Collection[int] = ()
    ) -> None:
        self.model, self.metric, self.stopped = model, metric, stopped
        self.ids: Int[Tensor, "pair pos"] = ids_of(pairs, run, model.device)
        self.tokens = torch.tensor([[p.answer_token, p.foil_token] for p in pairs], device=model.device)
        self.moves = torch.tensor([[c != SHOT for c in p.classes] for p in pairs], device=model.device)
        self.clean: Tensor | None = None
        if metric == "kl":
            clean = last_logits(model, ids_of(pairs, "clean", model.device)).clone()
            self.clean = as_logits(clean).log_softmax(-1)

    def points(self, start: Tensor, end: Tensor, steps: int, rule: Rule = "right") -> Iterator[Tensor]:
        """Start + ((k - offset of the rule) / steps) (end - start), k = 1 .. steps; exemplar tokens stay at the end."""
        where = self.moves.view(*self.moves.shape, *[1] * (end.ndim - 2)).to(end.device)
        for k in range(1, steps + 1):
            yield torch.where(where, start + ((k - _OFFSETS[rule]) / steps) * (end - start), end)

    def gradient(self, moving: Site, point: Tensor, watch: Watch[Key]) -> dict[Key, Tensor]:
        """Gradient of the summed metric with respect to each watched tensor, with site `moving` set to `point`."""
        model, tensors = self.model, dict[Key, Tensor]()
        start = point.detach().requires_grad_()
        with torch.enable_grad(), ExitStack() as stack:
            stack.callback(hook(model, moving, lambda _: start).remove)
            watch(stack, tensors)
            for layer in self.stopped:  # behind the watched tensors, so that these have no gradient either
                for kind in (SiteKind.ATTENTION, SiteKind.MLP):
                    stack.callback(hook(model, Site(kind, layer), without_gradient).remove)
            output: Any = model.module(input_ids=self.ids, use_cache=False, logits_to_keep=1)
            value = self.values(as_logits(output.logits[:, -1])).sum()
            gradients = torch.autograd.grad(value, list(tensors.values()))
        rows, length = self.ids.shape
        layers = model.shape.n_layers
        meter.count(rows=rows, half_blocks=2 * PASSES * layers, positions=length, n_layers=layers, length=length)
        return dict(zip(tensors, gradients, strict=True))

    def mean_gradient(
        self, moving: Site, start: Tensor, end: Tensor, watch: Watch[Key], *, steps: int, rule: Rule
    ) -> dict[Key, Tensor]:
        """Mean of `gradient` over the `points` of a path."""
        total: dict[Key, Tensor] = {}
        for point in self.points(start, end, steps, rule):
            for key, gradient in self.gradient(moving, point, watch).items():
                total[key] = total[key] + gradient if key in total else gradient
        return {key: value / steps for key, value in total.items()}

    def values(self, logits: Float[Tensor, "pair vocab"]) -> Float[Tensor, " pair"]:
        """The metric of each pair, from logits in at least float32."""
        log_probs = logits.log_softmax(-1)
        if self.clean is not None:
            return (self.clean.exp() * (self.clean - log_probs)).sum(-1)
        if self.metric == "logit_diff":
            read = logits.gather(-1, self.tokens)
            return read[:, 0] - read[:, 1]
        answer = log_probs.gather(-1, self.tokens)[:, 0]
        return answer if self.metric == "logprob" else answer.exp()
