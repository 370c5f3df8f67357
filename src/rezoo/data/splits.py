"""Which example is in which split, and in which order: pure functions, equal on every machine.

Hashes are plain 64-bit integer arithmetic (SplitMix64) and BLAKE2. So the NumPy version, the
platform and the seed of a run do not change a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

VAL_FRACTION = 0.1
TEST_FRACTION = 0.1


def splitmix64(values: np.ndarray) -> np.ndarray:
    """Return a well-mixed uint64 for each uint64 (Steele et al. 2014, the SplitMix finalizer)."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def epoch_key(seed: int, epoch: int) -> int:
    """Return a 63-bit number that identifies one epoch of one seed."""
    both = np.array([(seed << 32) ^ epoch], np.uint64)
    return int(splitmix64(splitmix64(both))[0] >> np.uint64(1))


def repetition_keys(key: int, repetitions: np.ndarray) -> np.ndarray:
    """Return a key for each repetition of an example in an epoch, int64.

    The first repetition, number 0, has the key of the epoch.
    """
    numbers = np.asarray(repetitions, np.uint64)
    mixed = splitmix64(np.uint64(key) ^ splitmix64(numbers)) >> np.uint64(1)
    return np.where(numbers == 0, np.uint64(key), mixed).astype(np.int64)


def epoch_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` examples in an epoch: a permutation, int64 `(count,)`."""
    positions = np.arange(count, dtype=np.uint64)
    keys = splitmix64(positions ^ np.uint64(epoch_key(seed, epoch)))
    return np.argsort(keys, kind="stable").astype(np.int64)


def stable_hash(keys: Sequence[str]) -> np.ndarray:
    """Return a uint64 for each key, equal for equal text on every machine."""
    digests = (hashlib.blake2b(k.encode("utf-8", "surrogateescape"), digest_size=8) for k in keys)
    return np.array([int.from_bytes(d.digest(), "big") for d in digests], np.uint64)


def hold_out(
    hashes: np.ndarray, fraction: float, *, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide examples by their hashes: `(kept, held out)`, two ascending int64 index arrays.

    The examples with the smallest hashes are held out, so a new file moves few others.

    Args:
        hashes: uint64 `(N,)`, from `stable_hash`.
        fraction: The part to hold out, of each class if `labels` are given; rounded, but at least
            one example of a class that has two or more.
        labels: int `(N,)`, or None if the classes are not known or an image has several.
    """
    groups = [np.arange(len(hashes))]
    if labels is not None:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    held = []
    for group in groups:
        most = max(len(group) - 1, 0)
        count = min(max(round(fraction * len(group)), 1), most)
        held.append(group[np.argsort(hashes[group], kind="stable")[:count]])
    out = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    kept = np.setdiff1d(np.arange(len(hashes)), out)
    return kept.astype(np.int64), out.astype(np.int64)
