"""Which part of a task a cluster belongs to: a public hash rule, so that anybody can recompute membership."""

import hashlib
from collections.abc import Iterable, Sequence

from arithloc.benchmark.api import Split

_DISCOVERY_BELOW = 50
_VALIDATION_BELOW = 70


def bucket(seed: int, key: Iterable[int | str]) -> int:
    """Bucket 0..99 of a cluster.

    The first 8 bytes, big-endian, of the SHA-256 of `arithloc/split/1/{seed}/{a}/{b}/...`, modulo 100. Operator and
    frame are not in the key: an operand pair is in one split for all of them.

    Args:
        seed: split seed.
        key: parts of the cluster, already in canonical order (operands sorted).

    Example:
    >>> bucket(0, (3, 5))
    14
    """
    return buckets(seed, [tuple(key)])[0]


def buckets(seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[int]:
    """Buckets of many clusters; one loop, because a grid of three-digit operands has 405,450 of them."""
    front, sha256 = f"arithloc/split/1/{seed}/", hashlib.sha256
    texts = [(front + "/".join(map(str, key))).encode() for key in keys]
    return [int.from_bytes(sha256(text).digest()[:8], "big") % 100 for text in texts]


def split_of(seed: int, key: Iterable[int | str]) -> Split:
    """The split of a cluster: buckets below 50 discovery, below 70 validation, the rest test."""
    return split_of_bucket(bucket(seed, key))


def split_of_bucket(number: int) -> Split:
    """The split of a bucket."""
    if number < _DISCOVERY_BELOW:
        return Split.DISCOVERY
    return Split.VALIDATION if number < _VALIDATION_BELOW else Split.TEST


def cluster_name(key: Iterable[int | str]) -> str:
    """Text of a cluster, as `27,58`."""
    return ",".join(map(str, key))
