"""The embeddings of one space as a block of features."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.embeddings import SpaceVectors

__all__ = ["DenseBlock"]

_ROWS_AT_ONCE = 8192
"""Vectors are kept as float32 and multiplied as float64: so many at once, that the copies stay small."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseBlock:
    """`weight` times the cosine of two items is what the block adds to their similarity; 0 where one has no vector."""

    space: str
    weight: float
    vectors: NDArray[np.float32]
    """(rows, d), as they were told."""
    places: NDArray[np.int64]
    """(rows,): of the items that the rows belong to, below 0 where a row counts no longer."""
    rows: NDArray[np.int64]
    """(items,): the row of each item, below 0 where it has none."""
    lengths: NDArray[np.float64]
    """(rows,): of the vectors."""

    @classmethod
    def of(cls, space: str, told: SpaceVectors, n_items: int, weight: float) -> "DenseBlock":
        """Build the block of a space for so many items."""
        rows = np.full(n_items, -1, np.int64)
        counts = np.flatnonzero(told.places >= 0)
        rows[told.places[counts]] = counts
        lengths = np.ones(len(told.places))
        for start in range(0, len(lengths), _ROWS_AT_ONCE):
            part = told.vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
            lengths[start : start + _ROWS_AT_ONCE] = np.linalg.norm(part, axis=1)
        return cls(space, weight, told.vectors, told.places, rows, lengths)

    def widened(self, n_items: int) -> "DenseBlock":
        """Return it with room for `n_items`; new ones have no vector."""
        return replace(self, rows=np.pad(self.rows, (0, n_items - len(self.rows)), constant_values=-1))

    def add_to_all(self, weights: Any, sums: NDArray[np.float64]) -> None:
        """Add to `sums` (n, items) what the block adds to the similarities to every item, by `weights` (n, items)."""
        liked = np.unique(weights.indices)
        profiles = self.weight * (weights[:, liked] @ self._unit(self.rows[liked]))
        for start in range(0, len(self.places), _ROWS_AT_ONCE):
            some = np.flatnonzero(self.places[start : start + _ROWS_AT_ONCE] >= 0) + start
            sums[:, self.places[some]] += profiles @ self._unit(some).T

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the block adds to the similarities of the items in some places to those in others."""
        cosines: NDArray[np.float64] = self.weight * (self._unit(self.rows[first]) @ self._unit(self.rows[second]).T)
        return cosines

    def _unit(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return vectors at length 1, (rows, d); one in a row below 0 is all 0."""
        unit = self.vectors[rows] / self.lengths[rows, np.newaxis]
        unit[rows < 0] = 0
        return unit
