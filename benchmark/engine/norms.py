"""Norms with their scale held fixed: linear maps, one per token.

A norm is y = bias + gain * centred(x) / s(x). Families differ in gain (g or 1 + g), bias, centring and epsilon, so the
parts are read off the module's own answers.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class NormParts:
    """What a norm does besides dividing by a scale.

    Attributes:
        gain: up to a common factor, which the scale takes up.
        bias: its output for zeros.
        centred: it subtracts the mean.
    """

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    centred: bool

    @classmethod
    def of(cls, norm: nn.Module, like: Float[Tensor, " width"]) -> "NormParts":
        """Reads a norm.

        Args:
            norm: the module.
            like: any tensor of the width, type and device on which the norm is to be read.
        """
        norm = copy.deepcopy(norm).to(like.dtype)
        with torch.inference_mode():
            ones = torch.ones_like(like)
            bias = norm(torch.zeros_like(ones))
            centred = bool(((norm(ones) - bias).abs() < 1e-6).all())
            probe = torch.cumprod(-ones, 0) if centred else ones  # +1 and -1 in turn: variance, hardly any mean
            gain = (norm(probe) - bias) / (probe - probe.mean() if centred else probe)
        # copies made outside inference mode can be part of a graph
        return cls(gain.clone(), bias.clone(), centred)

    def scaled(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Gain times x, or times x without its mean: the norm's output but for scale and bias."""
        return self.gain * (x - x.mean(-1, keepdim=True) if self.centred else x)

    def adjoint(self, direction: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The vector d' with d' . x = direction . scaled(x) for every x."""
        gained = self.gain * direction
        return gained - gained.mean(-1, keepdim=True) if self.centred else gained

    def inverse_scale(
        self, x: Float[Tensor, "*batch width"], y: Float[Tensor, "*batch width"]
    ) -> Float[Tensor, "*batch 1"]:
        """1 / s of each vector, from the norm's input and output; 0 where nothing is left of x.

        Any common factor of the gain is taken up, which makes `bias + inverse_scale * scaled(x)` exactly y.
        """
        part = self.scaled(x)
        size = part.pow(2).sum(-1, keepdim=True)
        return (part * (y - self.bias)).sum(-1, keepdim=True) / torch.where(size > 0, size, 1.0)
