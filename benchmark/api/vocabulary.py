"""The closed vocabularies of arithloc; the value of a member is the text that is stored."""

from enum import StrEnum


class Granularity(StrEnum):
    """What one component of a space is."""

    LAYER = "layer"
    """One attention block or one MLP block."""
    NODE = "node"
    """One attention head or one MLP block."""
    NEURON = "neuron"
    """One hidden unit of an MLP: one input coordinate of its down projection."""
    EDGE = "edge"
    """One sender's write as read by one receiver."""


class Ablation(StrEnum):
    """What the components outside (or inside) a circuit are replaced with."""

    COUNTERFACTUAL = "counterfactual"
    """Their value in the pair's counterfactual run."""
    MEAN = "mean"
    """Their mean over the counterfactual prompts of the discovery split, per frame, position class and offset in it."""
    ZERO = "zero"
    """Zero."""
    RESAMPLE = "resample"
    """Their value in the counterfactual run of another pair of the same shape."""


class Split(StrEnum):
    """Part of a task's pairs; no cluster (operand pair, entity) is in two splits."""

    DISCOVERY = "discovery"
    """What a method may look at."""
    VALIDATION = "validation"
    """For the choices of a method's author."""
    TEST = "test"
    """What faithfulness is measured on."""
