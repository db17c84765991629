"""Where the parts of a model lie: `device_map="auto"` may spread its blocks over several devices.

The hooks that spread a model move whatever goes into a module to that module's device. The engine's own tensors follow
one rule: what belongs to a block (activations at its sites, masks, keys, values, packed rows inside it) is on the
device of the block; what belongs to pairs (token ids, selections, logits) is on the device of the token embedding.
"""

import torch

from arithloc.benchmark.models import SubjectModel


def device_of(model: SubjectModel, layer: int) -> torch.device:
    """Device of a block; that of the final norm for layer `n_layers`."""
    layers = model.shape.n_layers
    weight = next(model.final_norm.parameters(), None) if layer == layers else None
    if weight is None:  # a block, or a norm without weights: it stays where the last block puts out
        weight = next(model.attention_output(min(layer, layers - 1)).parameters())
    return weight.device


def devices(model: SubjectModel) -> set[torch.device]:
    """Devices of all blocks."""
    return {device_of(model, layer) for layer in range(model.shape.n_layers)}
