"""Learned masks with uniform gradient sampling.

Reference: Li and Janson, arXiv:2409.09951, section on circuit discovery (UGS).
"""

from dataclasses import dataclass

import torch

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.api.errors import BadOption
from arithloc.methods.mask_training import Components, Draw, Training, trained


@dataclass(frozen=True)
class UniformGradientSampling:
    """Inclusion probability of each component, trained to keep the predictions with few components.

    In each step most components are kept or ablated at random by their probability; the others take a share drawn
    uniformly from [0, 1]. The mean over such shares of the derivative of the loss is the difference between keeping and
    ablating the component, the derivative with respect to its probability.

    Attributes:
        steps: optimiser steps.
        rate: learning rate of Adam.
        sparsity: weight of the expected share of components kept against the divergence of the predictions, relative to
            that of the model with everything ablated.
        batch: discovery pairs of one step.
        uniform: probability that a component takes a uniform share in a step.
    """

    steps: int = 200
    rate: float = 0.1
    sparsity: float = 1.0
    batch: int = 32
    uniform: float = 0.25

    info = MethodInfo(
        name="uniform-gradient-sampling",
        summary="Inclusion probabilities of components, trained by uniform gradient sampling to keep the predictions.",
        granularities=set(Granularity),
        reference="arXiv:2409.09951",
        access="training",
        cost="training",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its probability; two forwards and one backward per pair and step.

        Raises:
            BadOption: `uniform` is no probability above 0.
        """
        if not 0 < self.uniform <= 1:
            raise BadOption(f"Expected uniform in (0, 1], found {self.uniform}. It is a probability.")
        training = Training(self.steps, self.rate, self.sparsity, self.batch, 1.0, self.draw, torch.sigmoid)
        return Scores.of(problem.space, torch.sigmoid(trained(problem, training)).numpy())

    def draw(self, logits: Components, generator: torch.Generator) -> Draw:
        """Draws a mask; only components with a uniform share pass a gradient on."""
        probability = torch.sigmoid(logits)
        moving, kept, share = torch.rand((3, len(logits)), generator=generator, dtype=torch.float64)
        sampled = moving < self.uniform
        mask = torch.where(sampled, share, (kept < probability).double())

        def backward(gradient: Components) -> Components:
            of_probability = torch.where(sampled, gradient / self.uniform, 0.0)
            return of_probability * probability * (1 - probability)

        return Draw(mask, backward)
