"""Learned masks with hard-concrete gates.

Reference: Louizos, Welling and Kingma, arXiv:1712.01312 (gates, equations 10 to 12); for circuits Cao, Sanh and Rush,
arXiv:2104.03514, and Bhaskar et al., arXiv:2406.16778 (edges).
"""

import math
from dataclasses import dataclass

import torch

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.mask_training import Components, Draw, Training, trained

_TEMPERATURE = 2 / 3
_LOW, _HIGH = -0.1, 1.1
"""The concrete variable is stretched to this interval and cut to [0, 1]."""


@dataclass(frozen=True)
class HardConcrete:
    """Probability that a component's gate is open after training gates to keep the predictions with few components.

    Attributes:
        steps: optimiser steps.
        rate: learning rate of Adam.
        sparsity: weight of the share of open gates against the divergence of the predictions, relative to that of the
            model with everything ablated.
        batch: discovery pairs of one step.
    """

    steps: int = 200
    rate: float = 0.1
    sparsity: float = 1.0
    batch: int = 32

    info = MethodInfo(
        name="hard-concrete",
        summary="Mask over components, trained with hard-concrete gates to keep the predictions.",
        granularities=set(Granularity),
        reference="arXiv:1712.01312",
        access="training",
        cost="training",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by the probability of an open gate; two forwards and one backward per pair and step."""
        training = Training(self.steps, self.rate, self.sparsity, self.batch, 2.0, draw_gates, open_probability)
        return Scores.of(problem.space, open_probability(trained(problem, training)).numpy())


def open_probability(log_alpha: Components) -> Components:
    """Probability that a gate is not 0."""
    return torch.sigmoid(log_alpha - _TEMPERATURE * math.log(-_LOW / _HIGH))


def draw_gates(log_alpha: Components, generator: torch.Generator) -> Draw:
    """Draws every gate; its gradient goes through the draw."""
    uniform = torch.rand(log_alpha.shape, generator=generator, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    parameters = log_alpha.clone().requires_grad_()
    concrete = torch.sigmoid((uniform.logit() + parameters) / _TEMPERATURE)
    gates = (concrete * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def backward(gradient: Components) -> Components:
        (found,) = torch.autograd.grad(gates, parameters, gradient)
        return found

    return Draw(gates.detach(), backward)
