"""The inverse of a symmetric matrix that changes by low-rank terms: P = base - left @ right.T.

A change appends a few columns to `left` and `right` and touches nothing that exists, so a reader that holds the object
goes on with what it has: updates need no lock and pause nobody. Once there are `MAX_RANK` columns they are folded into
the base, out of place.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

__all__ = ["MAX_RANK", "LowRankInverse"]

MAX_RANK = 64
"""Columns kept beside the base: folding them costs one pass over the base, keeping them costs every query a bit."""

_ROWS_SIDE_BY_SIDE = 128
"""Of 3,706 numbers these are 3.8 MB."""
_ROWS_AT_ONCE = 1024
"""A fold in slices needs no second matrix for the product."""


@dataclass(frozen=True, slots=True, eq=False)
class LowRankInverse:
    """`base` (n, n), `left` and `right` (n, r), `diagonal` (n,) of the whole; all float64."""

    base: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    diagonal: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: NDArray[np.float64]) -> "LowRankInverse":
        """Invert a symmetric positive definite matrix (n, n), which is overwritten.

        By Cholesky's factors, at half of what an inversion costs that does not know of the symmetry. Raises:
        numpy.linalg.LinAlgError when it is not positive definite.
        """
        if not len(matrix):
            return cls._folded(matrix)
        # The transpose of a symmetric matrix is itself, and in the order that LAPACK works in without a copy.
        factor, failed = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("not positive definite")
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        base = inverse.T
        for start in range(0, len(base), _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, len(base))
            base[end:, start:end] = base[start:end, end:].T
            block = base[start:end, start:end]
            block[...] = np.triu(block) + np.triu(block, 1).T
        return cls._folded(base)

    def __len__(self) -> int:
        return len(self.diagonal)

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows of the inverse (places, n); it is symmetric, so they are its columns too."""
        rows: NDArray[np.float64] = self.base[places] - self.left[places] @ self.right.T
        return rows

    def entries(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some entries (rows, columns) of the inverse."""
        entries: NDArray[np.float64] = self.base[np.ix_(rows, columns)] - self.left[rows] @ self.right[columns].T
        return entries

    def times(self, sparse_rows: Any) -> NDArray[np.float64]:
        """Return sparse rows (m, n) times the inverse: (m, n) float64."""
        product: NDArray[np.float64] = sparse_rows @ self.base
        if self.left.shape[1]:
            product -= (sparse_rows @ self.left) @ self.right.T
        return product

    def add_up(self, places: NDArray[np.int64], weights: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Write the sum (n,) of rows (k,) times their weights (k,) to `out`.

        Rows are copied side by side and multiplied there, which takes half as long as a sparse product: that one adds
        row after row to the sum, and its matrix costs more to make than the sum.
        """
        out[:] = 0
        for start in range(0, len(places), _ROWS_SIDE_BY_SIDE):
            some = slice(start, start + _ROWS_SIDE_BY_SIDE)
            out += weights[some] @ self.base[places[some]]
        if self.left.shape[1]:
            out -= (weights @ self.left[places]) @ self.right.T

    def dense(self) -> NDArray[np.float64]:
        """Return the whole inverse (n, n)."""
        return self._in_room_for(len(self))

    def changed(self, terms: Any, middle: NDArray[np.float64]) -> "LowRankInverse":
        """Return the inverse of the matrix plus W.T @ middle @ W, where W is `terms` (k, n), sparse.

        `middle` (k, k) is symmetric. Raises: numpy.linalg.LinAlgError when the changed matrix has no inverse.

        Source: Woodbury, Inverting modified matrices, 1950, in the form that needs no inverse of `middle`:
        P - P W' (I + M W P W')^-1 M W P.
        """
        projected = self.times(terms).T
        small = np.eye(len(middle)) + middle @ (terms @ projected)
        core = np.linalg.solve(small, middle)
        left = projected @ ((core + core.T) / 2)
        changed = LowRankInverse(
            self.base,
            np.hstack([self.left, left]),
            np.hstack([self.right, projected]),
            self.diagonal - np.einsum("ij,ij->i", left, projected),
        )
        return changed if changed.left.shape[1] < MAX_RANK else self._folded(changed.dense())

    def widened(self, n: int, diagonal: float) -> "LowRankInverse":
        """Return it with `n` rows in all; the new ones have `diagonal` on the diagonal and 0 elsewhere."""
        base = self._in_room_for(n)
        base[range(len(self), n), range(len(self), n)] = diagonal
        return self._folded(base)

    def _in_room_for(self, n: int) -> NDArray[np.float64]:
        whole = np.zeros((n, n))
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, len(self)))
            np.subtract(self.base[part], self.left[part] @ self.right.T, out=whole[part, : len(self)])
        return whole

    @classmethod
    def _folded(cls, base: NDArray[np.float64]) -> "LowRankInverse":
        none = np.empty((len(base), 0))
        return cls(base, none, none, base.diagonal().copy())
