"""Unit vectors to search among, what is truly nearest, and how much of that a system finds.

gaussian    every direction alike: neighbours stand out least, the worst case of every index
clustered   as learned embeddings are: 1,000 centres of unequal size in a space of 24 directions, and noise
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATA", "DIMENSIONS", "clustered", "gaussian", "nearest", "recall"]

DIMENSIONS = 64
_CENTRES = 1000
_DIRECTIONS = 24
_SPREAD = 0.35
"""Noise around a centre, as a share of the centre's own length."""
_ROWS_AT_ONCE = 100_000


def gaussian(rows: int, seed: int) -> NDArray[np.float32]:
    """Return (rows, 64) float32 unit vectors."""
    return _unit(np.random.default_rng(seed).standard_normal((rows, DIMENSIONS), np.float32))


def clustered(rows: int, seed: int) -> NDArray[np.float32]:
    """Return (rows, 64) float32 unit vectors; the centres are the same for every seed, so that queries have some."""
    fixed = np.random.default_rng(0)
    directions = fixed.standard_normal((_DIRECTIONS, DIMENSIONS), np.float32)
    centres = _unit(fixed.standard_normal((_CENTRES, _DIRECTIONS), np.float32) @ directions)
    sizes = 1 / np.arange(1, _CENTRES + 1)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(_CENTRES, rows, p=sizes / sizes.sum())
    within = _unit(generator.standard_normal((rows, _DIRECTIONS), np.float32) @ directions)
    anywhere = gaussian(rows, seed + 1)
    return _unit(centres[chosen] + np.float32(_SPREAD) * (within + np.float32(0.5) * anywhere))


DATA: dict[str, Callable[[int, int], NDArray[np.float32]]] = {"gaussian": gaussian, "clustered": clustered}


def nearest(items: NDArray[np.float32], queries: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return the rows of the n items nearest to each query by dot product, in any order: (queries, n)."""
    rows = np.zeros((len(queries), 0), np.int64)
    products = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(items), _ROWS_AT_ONCE):
        part = queries @ items[start : start + _ROWS_AT_ONCE].T
        top = np.argpartition(part, -min(n, part.shape[1]), axis=1)[:, -n:]
        rows = np.hstack((rows, top + start))
        products = np.hstack((products, np.take_along_axis(part, top, axis=1)))
    best = np.argpartition(products, -n, axis=1)[:, -n:]
    return np.take_along_axis(rows, best, axis=1)


def recall(true: NDArray[np.int64], found: Sequence[Sequence[int]]) -> float:
    """Return which share of the rows that are truly nearest was found, over all queries."""
    hits = sum(len(set(expected.tolist()) & set(got)) for expected, got in zip(true, found, strict=True))
    return hits / true.size


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
