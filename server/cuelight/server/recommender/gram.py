"""How often items are liked together, and the inverse of that: learned and unlearned exactly, without a refit.

    G = X'X          (items, items): what item-based cosine and EASE know of the interactions X (users, items)
    (G + lambda I)^-1

A user's row that changes from x to x + d changes G by x d' + d x' + d d': rank two, whatever the length of the row.
Forgetting a user is d = -x. With whole weights G is exact; the inverse drifts by rounding, which `drift` measures and
`refitted` undoes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.low_rank_inverse import LowRankInverse

__all__ = ["DRIFT_LIMIT", "Gram", "GramChange"]

DRIFT_LIMIT = 1e-9
"""Of |(G + lambda I) P - I|: a thousand times below what answers are compared with after a refit, 1e-6."""

_DRIFT_COLUMNS = 4
_CHANGES_AT_ONCE = 16
_RATIO_FOR_REFIT = 4
"""A low-rank update by more than a quarter of the matrix's size costs more than inverting it anew."""

_Difference = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

_MIDDLE = np.array([[0.0, 1.0], [1.0, 1.0]])


@dataclass(frozen=True, slots=True, eq=False)
class GramChange:
    """Which rows of G changed: `items` (t,), and as they were `rows_before` (t, n) and `diagonal_before` (n,)."""

    items: NDArray[np.int64]
    rows_before: NDArray[np.float64]
    diagonal_before: NDArray[np.float64]


class Gram:
    """G and, once something asks for it, the inverse of G + `regularization` I. One thread owns it.

    Dense: 8 bytes a pair of items, and as much again for the inverse.
    """

    def __init__(self, counts: NDArray[np.float64], regularization: float) -> None:
        self.counts = counts
        self.regularization = regularization
        self._inverse: LowRankInverse | None = None
        self._changes_since_fit = 0
        self._since_snapshot: list[_Difference] | None = None

    @classmethod
    def fit(cls, table: InteractionTable, regularization: float) -> "Gram":
        """Count what is in the table. `regularization` is EASE's lambda, above 0."""
        matrix = table.matrix()
        return cls((matrix.T @ matrix).toarray(), regularization)

    @property
    def inverse(self) -> LowRankInverse:
        """(G + lambda I)^-1."""
        if self._inverse is None:
            self._inverse = LowRankInverse.of(self._regularized())
        return self._inverse

    @property
    def changes_since_fit(self) -> int:
        """Rows that changed since the inverse was last computed from nothing."""
        return self._changes_since_fit

    def learn(self, changes: Sequence[RowChange]) -> GramChange:
        """Take in changed rows, each user's at most once, and return which rows of G changed."""
        differences = [change.difference() for change in changes]
        touched = np.unique(np.concatenate([items[delta != 0] for items, _, delta in differences]))
        before = GramChange(touched, self.counts[touched], self.counts.diagonal().copy())
        for items, old, delta in differences:
            self.counts[np.ix_(items, items)] += np.outer(old, delta) + np.outer(delta, old + delta)
        if self._since_snapshot is not None:
            self._since_snapshot += differences
        self._learn_inverse(differences)
        return before

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which nobody has yet."""
        old = len(self.counts)
        counts = np.zeros((n_items, n_items))
        counts[:old, :old] = self.counts
        self.counts = counts
        if self._inverse is not None:
            self._inverse = self._inverse.widened(n_items, 1 / self.regularization)

    def drift(self, seed: int = 0) -> float:
        """Return the largest entry of (G + lambda I) P - I in some columns, drawn with `seed`: 0 without rounding."""
        n = len(self.counts)
        columns = np.random.default_rng(seed).permutation(n)[:_DRIFT_COLUMNS].astype(np.int64)
        residual = self.inverse.rows(columns) @ self._regularized()
        residual[range(len(columns)), columns] -= 1
        return float(np.abs(residual).max(initial=0))

    def snapshot(self) -> NDArray[np.float64]:
        """Return G + lambda I as it is now, to be inverted on another thread; `adopt` takes the result."""
        self._since_snapshot = []
        return self._regularized()

    def adopt(self, inverse: LowRankInverse) -> None:
        """Go on with the inverse of the last snapshot, and teach it what was learned since."""
        missed = self._since_snapshot
        assert missed is not None, "adopt() without snapshot()"
        self._since_snapshot = None
        self._changes_since_fit = 0
        size = len(inverse.diagonal)
        self._inverse = (
            inverse if size == len(self.counts) else inverse.widened(len(self.counts), 1 / self.regularization)
        )
        for start in range(0, len(missed), _CHANGES_AT_ONCE):
            self._learn_inverse(missed[start : start + _CHANGES_AT_ONCE])

    def refit(self) -> None:
        """Compute the inverse from G alone."""
        self._inverse = LowRankInverse.of(self._regularized())
        self._changes_since_fit = 0

    def _learn_inverse(self, differences: Sequence[_Difference]) -> None:
        if self._inverse is None:
            return
        if 2 * len(differences) * _RATIO_FOR_REFIT > len(self.counts) > _CHANGES_AT_ONCE:
            self.refit()
            return
        self._changes_since_fit += len(differences)
        for start in range(0, len(differences), _CHANGES_AT_ONCE):
            part = differences[start : start + _CHANGES_AT_ONCE]
            places = np.unique(np.concatenate([items for items, _, _ in part]))
            terms = np.zeros((len(places), 2 * len(part)))
            for column, (items, old, delta) in enumerate(part):
                at = np.searchsorted(places, items)
                terms[at, 2 * column] = old
                terms[at, 2 * column + 1] = delta
            self._inverse = self._inverse.changed(places, terms, np.kron(np.eye(len(part)), _MIDDLE))

    def _regularized(self) -> NDArray[np.float64]:
        return self.counts + self.regularization * np.eye(len(self.counts))
