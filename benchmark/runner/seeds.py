"""Seeds of a cell's random steps, from its key: never from a worker's number or the time."""

import hashlib


def seed_of(key: str, purpose: str) -> int:
    """First four bytes of SHA-256 of `key/purpose`: different for each cell and each step of it.

    Example:
    >>> seed_of("ab", "localize") == seed_of("ab", "localize")
    True
    >>> seed_of("ab", "localize") == seed_of("ab", "ties")
    False
    """
    return int.from_bytes(hashlib.sha256(f"{key}/{purpose}".encode()).digest()[:4], "big")
