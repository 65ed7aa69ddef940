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


@dataclass(frozen=True, slots=True, eq=False)
class LowRankInverse:
    """`base` (n, n), `left` and `right` (n, r), `diagonal` (n,) of the whole; all float64."""

    base: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    diagonal: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: NDArray[np.float64]) -> "LowRankInverse":
        """Invert a symmetric positive definite matrix (n, n).

        By Cholesky's factors, at half of what an inversion costs that does not know of the symmetry. Raises:
        numpy.linalg.LinAlgError when it is not positive definite.
        """
        factor, failed = lapack.dpotrf(matrix)
        if failed:
            raise np.linalg.LinAlgError("not positive definite")
        upper, _ = lapack.dpotri(factor)
        above = np.triu(upper, 1)
        return cls._folded(above + above.T + np.diag(upper.diagonal()))

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows of the inverse (places, n); it is symmetric, so they are its columns too."""
        rows: NDArray[np.float64] = self.base[places] - self.left[places] @ self.right.T
        return rows

    def times(self, sparse_rows: Any) -> NDArray[np.float64]:
        """Return sparse rows (m, n) times the inverse: (m, n) float64."""
        product: NDArray[np.float64] = sparse_rows @ self.base - (sparse_rows @ self.left) @ self.right.T
        return product

    def dense(self) -> NDArray[np.float64]:
        """Return the whole inverse (n, n)."""
        return self.base - self.left @ self.right.T

    def changed(
        self, places: NDArray[np.int64], terms: NDArray[np.float64], middle: NDArray[np.float64]
    ) -> "LowRankInverse":
        """Return the inverse of the matrix plus W @ middle @ W.T, where W is `terms` (places, k) at rows `places`.

        `middle` (k, k) is symmetric. Raises: numpy.linalg.LinAlgError when the changed matrix has no inverse.

        Source: Woodbury, Inverting modified matrices, 1950, in the form that needs no inverse of `middle`:
        P - P W (I + M W' P W)^-1 M W' P.
        """
        projected = self.rows(places).T @ terms
        small = np.eye(len(middle)) + middle @ (terms.T @ projected[places])
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
        old = len(self.base)
        base = np.zeros((n, n))
        base[:old, :old] = self.dense()
        base[range(old, n), range(old, n)] = diagonal
        return self._folded(base)

    @classmethod
    def _folded(cls, base: NDArray[np.float64]) -> "LowRankInverse":
        none = np.empty((len(base), 0))
        return cls(base, none, none, base.diagonal().copy())
