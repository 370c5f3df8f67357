"""Find pictures that stand twice: the same bytes, the same pixels, or nearly the same picture.

A picture's hash is 64 signs: those of the lowest frequencies of the cosine transform of its grey
32x32 thumbnail (a pHash, thresholded at 0). Mirroring flips the signs of the odd horizontal
frequencies and nothing else, so the mirrored picture's hash is known without computing it.

Pairs that may match share one of the hash's four 16-bit chunks, and differ in `MAX_BITS` of 64 at
most; a hash that differs in three or fewer always shares one. The pair is confirmed by the
correlation of the thumbnails. No pair is compared that shares no chunk: for 1.3 million made-up
hashes, as unevenly spread as those of photographs, that took 21 seconds on two cores.

Measured on 1,029 photographs of cats and dogs, each against its own copy (`bits` of 64 differ):

| copy | most bits | lowest correlation |
|---|---|---|
| half the size | 2 | 0.9995 |
| JPEG quality 60; 30 | 2; 2 | 0.9993; 0.9988 |
| squeezed to 224x224 | 2 | 0.9997 |
| mirrored | 1 | 0.9998 |
| half the size at quality 30; mirrored, half, 60 | 3; 2 | 0.9966; 0.9987 |
| 2.5 % cut off each side | 13 | 0.82: not claimed, 19 % are found |

Of the 528,906 pairs of different files, six passed: bits 2 or fewer, correlation 0.983 or more, and
all are one picture at two sizes (one with other contrast and a watermark). Behind them came one of
9 bits and 0.90, a picture and its cropped copy. No other pair within 8 bits had more than 0.52.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rezoo.data.audit.reading import SIDE, Readings

MAX_BITS = 6  # of 64
MIN_CORRELATION = 0.975
# Few pixels say little: of digits of 8x8 pixels, hundreds of different ones reach 0.97.
MIN_CORRELATION_SMALL = 0.995
SMALL = 32  # pixels of the shorter side
MIN_CONTRAST = 2.0  # grey levels, standard deviation: below, a hash is noise
MAX_PAIRS = 2_000_000
MAX_COMPARED = 4_000_000_000
_BLOCK = 2_000_000  # pairs at a time
_CHUNKS, _CHUNK_BITS = 4, 16
_FREQUENCIES = 12

BYTES, PIXELS, NEAR, MIRRORED = "same bytes", "same pixels", "near", "mirrored"


@dataclass(frozen=True)
class Link:
    """Two examples that are one picture.

    Attributes:
        first: Row.
        second: Row.
        how: `"same bytes"`, `"same pixels"`, `"near"` or `"mirrored"`.
        bits: How many of the 64 bits of the hashes differ.
        correlation: Of the thumbnails.
    """

    first: int
    second: int
    how: str
    bits: int = 0
    correlation: float = 1.0


@dataclass(frozen=True)
class Matches:
    """All that stands twice.

    Attributes:
        groups: Rows of one picture, ascending, with the links that join them, strictest first.
        flat: How many pictures have so little contrast that only exact copies are found.
        cut: Whether there were so many alike that not all were compared.
    """

    groups: list[tuple[list[int], list[Link]]]
    flat: int
    cut: bool


def find_matches(readings: Readings) -> Matches:
    """Find exact and near duplicates among all examples that can be decoded."""
    everything = np.arange(len(readings))
    with_file = everything[(readings.files != 0).any(1)]
    links, alone = _equal(readings.files, with_file, BYTES)
    decoded = readings.decoded
    alone = np.union1d(alone, np.setdiff1d(everything, with_file))
    more, alone = _equal(readings.pixels, alone[decoded[alone]], PIXELS)
    links += more
    contrast = np.concatenate(
        [np.zeros(0), *(readings.thumbnails[b].std((1, 2)) for b in _blocks(alone, 4096))]
    )
    vivid = alone[contrast >= MIN_CONTRAST]
    near, cut = _near(readings, vivid)
    return Matches(_groups(links + near), len(alone) - len(vivid), cut)


def hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return the uint64 hash of each thumbnail, `(N, 32, 32)`; the lowest bits vary slowest."""
    place = np.arange(SIDE)
    basis = np.cos(np.pi * (2 * place + 1) * np.arange(_FREQUENCIES)[:, None] / (2 * SIDE))
    waves = basis @ thumbnails.astype(np.float64) @ basis.T
    signs = (waves[:, _ROWS, _COLUMNS] > 0).astype(np.uint64)
    return (signs << np.arange(64, dtype=np.uint64)).sum(1, dtype=np.uint64)


def _order() -> tuple[np.ndarray, np.ndarray]:
    """Return the 64 lowest frequencies but the mean, `(rows, columns)`, by their sum."""
    every = [(u, v) for u in range(_FREQUENCIES) for v in range(_FREQUENCIES)][1:]
    chosen = np.array(sorted(every, key=lambda uv: (sum(uv), uv[0]))[:64])
    return chosen[:, 0], chosen[:, 1]


_ROWS, _COLUMNS = _order()
MIRROR = np.uint64(sum(1 << i for i, column in enumerate(_COLUMNS.tolist()) if column % 2))


def _equal(digests: np.ndarray, rows: np.ndarray, how: str) -> tuple[list[Link], np.ndarray]:
    """Return links between rows of one digest, and the first row of each digest, ascending."""
    if not len(rows):
        return [], rows
    chosen = digests[rows]
    order = np.lexsort((rows, chosen[:, 1], chosen[:, 0]))
    ordered, sorted_rows = chosen[order], rows[order]
    new = np.r_[True, (ordered[1:] != ordered[:-1]).any(1)]
    firsts = sorted_rows[new][np.cumsum(new) - 1]
    repeated = ~new
    links = [
        Link(a, b, how)
        for a, b in zip(firsts[repeated].tolist(), sorted_rows[repeated].tolist(), strict=True)
    ]
    return links, np.sort(sorted_rows[new])


def _near(readings: Readings, rows: np.ndarray) -> tuple[list[Link], bool]:
    """Return links between nearly equal pictures, the most alike first."""
    codes = np.concatenate(
        [np.zeros(0, np.uint64), *(hashes(readings.thumbnails[b]) for b in _blocks(rows, 4096))]
    )
    links = []
    cut = False
    small = readings.sizes[:, :2].min(1) < SMALL
    for mirrored in (False, True):
        pairs, stopped = _candidates(codes, mirrored=mirrored)
        cut |= stopped
        for block in _blocks(pairs, 4096):
            first, second = rows[block[:, 0]], rows[block[:, 1]]
            found = correlations(readings.thumbnails[first], readings.thumbnails[second], mirrored)
            least = np.where(small[first] | small[second], MIN_CORRELATION_SMALL, MIN_CORRELATION)
            flip = MIRROR if mirrored else np.uint64(0)
            bits = np.bitwise_count(codes[block[:, 0]] ^ codes[block[:, 1]] ^ flip)
            links += [
                Link(int(first[i]), int(second[i]), how, int(bits[i]), float(found[i]))
                for how in [MIRRORED if mirrored else NEAR]
                for i in np.flatnonzero(found >= least)
            ]
    return sorted(links, key=lambda link: (-link.correlation, link.first, link.second)), cut


def correlations(first: np.ndarray, second: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return the correlation of grey levels, `(N,)`, of pairs of thumbnails `(N, 32, 32)`."""
    one = first.astype(np.float32).reshape(len(first), -1)
    two = (second[:, :, ::-1] if mirrored else second).astype(np.float32).reshape(len(one), -1)
    one, two = (x - x.mean(1, keepdims=True) for x in (one, two))
    return (one * two).sum(1) / np.sqrt((one**2).sum(1) * (two**2).sum(1))


def _candidates(codes: np.ndarray, *, mirrored: bool) -> tuple[np.ndarray, bool]:
    """Return pairs `(M, 2)` of hashes that share a chunk and differ little; whether it was cut."""
    count = len(codes)
    others = codes ^ MIRROR if mirrored else codes
    found = [np.zeros(0, np.int64)]
    kept = compared = 0
    for chunk in range(_CHUNKS):
        mine, theirs = (_chunk(c, chunk) for c in (codes, others))
        order = np.argsort(mine, kind="stable")
        low = np.searchsorted(mine[order], theirs, "left")
        high = np.searchsorted(mine[order], theirs, "right")
        if not mirrored:  # each pair once: only what stands behind in the bucket
            low[order] = np.arange(1, count + 1)
        for left, right in _pairs(low, high, order):
            compared += len(left)
            near = np.bitwise_count(codes[right] ^ others[left]) <= MAX_BITS
            left, right = left[near], right[near]
            if mirrored:  # the other way round is the same pair; a picture is no pair with itself
                left, right = left[left < right], right[left < right]
            found.append(np.minimum(left, right) * count + np.maximum(left, right))
            kept += len(left)
            if kept > MAX_PAIRS or compared > MAX_COMPARED:
                return _decoded_pairs(found, count), True
    return _decoded_pairs(found, count), False


def _decoded_pairs(found: list[np.ndarray], count: int) -> np.ndarray:
    return np.stack(np.divmod(np.unique(np.concatenate(found)), max(count, 1)), 1)


def _chunk(codes: np.ndarray, number: int) -> np.ndarray:
    return (codes >> np.uint64(_CHUNK_BITS * number)) & np.uint64((1 << _CHUNK_BITS) - 1)


def _pairs(
    low: np.ndarray, high: np.ndarray, order: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each query with each member of its bucket, `order[low:high]`, some at a time."""
    counts = np.maximum(high - low, 0)
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + _BLOCK, "right")), start + 1)
        some = counts[start:stop]
        left = np.repeat(np.arange(start, stop), some)
        inside = np.arange(len(left)) - np.repeat(np.cumsum(some) - some, some)
        yield left, order[np.repeat(low[start:stop], some) + inside]
        start = stop


def _groups(links: list[Link]) -> list[tuple[list[int], list[Link]]]:
    """Join linked rows; of the links, only those are kept that join."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = row = parent[parent[row]]
        return row

    joining = []
    for link in links:
        one, two = root(link.first), root(link.second)
        if one != two:
            parent[max(one, two)] = min(one, two)
            joining.append(link)
    groups: dict[int, tuple[list[int], list[Link]]] = {}
    for row in sorted(parent):
        groups.setdefault(root(row), ([], []))[0].append(row)
    for link in joining:
        groups[root(link.first)][1].append(link)
    return list(groups.values())


def _blocks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
