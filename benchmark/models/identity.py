"""Which model it was, for stored results."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a stored result says about the model it was measured on.

    Attributes:
        revision: 40 hex digits of the hub revision, or the content hash of a local folder.
        weights_hash: SHA-256 of the weights.
        config_hash: SHA-256 of the configuration.
        tokenizer_hash: SHA-256 of the tokenizer.
        family: `model_type` of the architecture.
        n_params: parameters, tied ones counted once.
        is_toy: a model with known circuit.
    """

    revision: str
    weights_hash: str
    config_hash: str
    tokenizer_hash: str
    family: str
    n_params: int
    is_toy: bool
