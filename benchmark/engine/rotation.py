"""Rotary position embeddings whose angles depend on how long a prompt is.

Two kinds do. `longrope` takes one set of angles up to a length and another one beyond it, for all tokens of the prompt.
`dynamic` stretches its angles beyond a length and keeps them for the prompts that follow, until a short one comes.
"""

from typing import Any


def rotation_follows_length(config: Any, length: int) -> bool:
    """Whether a prompt of `length` tokens is rotated by other angles than its first tokens would be without the rest."""
    return any(length > limit for kind, limit in _kinds(config) if kind == "longrope")


def rotation_follows_history(config: Any, length: int) -> bool:
    """Whether a prompt of `length` tokens changes the angles of the prompts after it."""
    return any(length > limit for kind, limit in _kinds(config) if kind == "dynamic")


def _kinds(config: Any) -> list[tuple[str, int]]:
    """Kind of rotation, and length up to which its angles are fixed, of each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    by_layers = [value for value in parameters.values() if isinstance(value, dict)] or [parameters]
    known = int(getattr(config, "max_position_embeddings", 0))
    found = []
    for values in by_layers:
        kind = str(values.get("rope_type", "default"))
        found.append((kind, int(values["original_max_position_embeddings"]) if kind == "longrope" else known))
    return found
