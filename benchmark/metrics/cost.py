"""Cost in units of one full forward pass of one pair."""


def forward_equivalents(
    rows: int, blocks: int, positions: int, n_layers: int, n_tokens: int, *, backward: bool = False
) -> float:
    """Rows x blocks x positions that were run, divided by n_layers x n_tokens; a backward pass counts 2 more.

    Args:
        rows: pairs times interventions.
        blocks: blocks that were run.
        positions: token positions that were run.
        n_layers: blocks of the model.
        n_tokens: length of the prompt.
        backward: gradients were taken through the same part.

    Example: block 20 of 32 patched at the last of 10 positions: 12 x 1 of 32 x 10
    >>> forward_equivalents(1, 12, 1, 32, 10)
    0.0375
    """
    return rows * blocks * positions * (3 if backward else 1) / (n_layers * n_tokens)
