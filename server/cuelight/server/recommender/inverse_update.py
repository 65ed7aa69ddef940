"""How EASE's inverse comes to know what the Gram has learned: work for a thread of its own, beside the calls.

InverseUpdate    follows some changes by Woodbury's identity
GramCopy         inverts G + lambda I anew; the copy is made slice by slice on the thread that owns G, so that
                 questions are answered between the slices, and what changed meanwhile is copied again at the end
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cuelight.server.recommender.low_rank_inverse import LowRankInverse

__all__ = ["Difference", "GramCopy", "InverseUpdate"]

_CHANGES_AT_ONCE = 256
_MIDDLE = np.array([[0.0, 1.0], [1.0, 1.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """A user's row that changed: Gram rows of its items, the old weights and what was added to each; all (h,)."""

    rows: NDArray[np.int64]
    old: NDArray[np.float64]
    added: NDArray[np.float64]

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Where something was added: (h,)."""
        moved: NDArray[np.bool_] = self.added != 0
        return moved


@dataclass(frozen=True, slots=True, eq=False)
class InverseUpdate:
    """What leads from an inverse to the one after some changes. Immutable, so it may be computed on any thread."""

    inverse: LowRankInverse
    differences: Sequence[Difference]
    n: int
    """How many rows the inverse has afterwards."""
    regularization: float

    def computed(self) -> LowRankInverse:
        """Return the inverse after the changes. Takes time in proportion to them and to the inverse's entries."""
        inverse = self.inverse
        if self.n > len(inverse):
            inverse = inverse.widened(self.n, 1 / self.regularization)
        for start in range(0, len(self.differences), _CHANGES_AT_ONCE):
            part = self.differences[start : start + _CHANGES_AT_ONCE]
            inverse = inverse.changed(self._terms(part), np.kron(np.eye(len(part)), _MIDDLE))
        return inverse

    def _terms(self, part: Sequence[Difference]) -> csr_array:
        """Return two rows a change: the user's row as it was, and what was added to it."""
        moved = [difference.moved for difference in part]
        rows, values = [], []
        for difference, where in zip(part, moved, strict=True):
            rows += [difference.rows, difference.rows[where]]
            values += [difference.old, difference.added[where]]
        ends = np.cumsum([0, *(len(each) for each in rows)])
        return csr_array((np.concatenate(values), np.concatenate(rows), ends), shape=(len(rows), self.n))


@dataclass(slots=True, eq=False)
class GramCopy:
    """G + lambda I on its way to be inverted. Owned by the Gram's thread until it is complete, then by whoever inverts.

    `matrix` (n, n) has room for rows that come while it is copied.
    """

    matrix: NDArray[np.float64]
    rows: int
    """How many rows there were at the start."""
    slice_bytes: int
    copied: int = 0
    touched: list[NDArray[np.int64]] = field(default_factory=list)
    """Rows that changed since the start."""

    def computed(self) -> LowRankInverse:
        """Return the inverse. Takes time in proportion to the cube of the rows."""
        return LowRankInverse.of(self.matrix)
