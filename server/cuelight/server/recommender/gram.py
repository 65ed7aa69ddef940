"""How often items are liked together, and the inverse of that: learned and unlearned exactly, without a refit.

    G = X'X          (items, items): what item-based cosine and EASE know of the interactions X (users, items)
    (G + lambda I)^-1

A user's row that changes from x to x + d changes G by x d' + d x' + d d': rank two, whatever the length of the row.
Forgetting a user is d = -x. With whole weights G is exact; the inverse drifts by rounding, which `drift` measures and
an update `anew` undoes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.low_rank_inverse import LowRankInverse

__all__ = ["DRIFT_LIMIT", "Gram", "GramChange", "InverseUpdate"]

DRIFT_LIMIT = 1e-9
"""Of |(G + lambda I) P - I|: a thousand times below what answers are compared with after a refit, 1e-6."""

_DRIFT_COLUMNS = 4
_CHANGES_AT_ONCE = 16
_SHARE_OF_ROOM = 8
"""Room for an eighth more items: a quarter more memory, and a move for every so many new ones."""

_Difference = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

_MIDDLE = np.array([[0.0, 1.0], [1.0, 1.0]])


@dataclass(frozen=True, slots=True, eq=False)
class GramChange:
    """Which rows of G changed: `items` (t,), and as they were `rows_before` (t, n) and `diagonal_before` (n,)."""

    items: NDArray[np.int64]
    rows_before: NDArray[np.float64]
    diagonal_before: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class InverseUpdate:
    """What leads from an inverse to the one after some changes. Immutable, so it may be computed on any thread."""

    inverse: LowRankInverse
    differences: Sequence[_Difference]
    matrix: NDArray[np.float64] | None
    """G + lambda I after the changes, where inverting it anew is less work than following them."""

    def computed(self) -> LowRankInverse:
        """Return the inverse after the changes."""
        if self.matrix is not None:
            return LowRankInverse.of(self.matrix)
        inverse = self.inverse
        for start in range(0, len(self.differences), _CHANGES_AT_ONCE):
            part = self.differences[start : start + _CHANGES_AT_ONCE]
            places = np.unique(np.concatenate([items for items, _, _ in part]))
            terms = np.zeros((len(places), 2 * len(part)))
            for column, (items, old, delta) in enumerate(part):
                at = np.searchsorted(places, items)
                terms[at, 2 * column] = old
                terms[at, 2 * column + 1] = delta
            inverse = inverse.changed(places, terms, np.kron(np.eye(len(part)), _MIDDLE))
        return inverse


class Gram:
    """G, which changes with every `learn`, and the inverse of G + `regularization` I, which follows by `settle`, or by
    `update` and `adopt` with the work between them done on another thread. One thread owns the Gram.

    Dense: 8 bytes a pair of items, and as much again for the inverse. There is room for more items than there are, so
    that not every new one moves all of it.
    """

    def __init__(self, counts: NDArray[np.float64], regularization: float) -> None:
        self.counts = counts
        self.n_items = len(counts)
        self.regularization = regularization
        self.changes_since_fit = 0
        """Rows that changed since the inverse was last computed from nothing."""
        self._inverse: LowRankInverse | None = None
        self._pending: list[_Difference] = []

    @classmethod
    def fit(cls, table: InteractionTable, regularization: float) -> "Gram":
        """Count what is in the table. `regularization` is EASE's lambda, above 0."""
        matrix = table.matrix()
        return cls((matrix.T @ matrix).toarray(), regularization)

    @property
    def inverse(self) -> LowRankInverse:
        """(G + lambda I)^-1 as of the last time it was settled."""
        if self._inverse is None:
            self._pending = []
            self._inverse = LowRankInverse.of(self._regularized())
        return self._inverse

    @property
    def pending(self) -> int:
        """How many changed rows the inverse does not know yet."""
        return len(self._pending)

    def learn(self, changes: Sequence[RowChange]) -> GramChange:
        """Take changed rows into G, each user's at most once, and return which rows of G changed."""
        differences = [change.difference() for change in changes]
        touched = np.unique(np.concatenate([items[delta != 0] for items, _, delta in differences]))
        before = GramChange(touched, self.counts[touched], self.counts.diagonal().copy())
        for items, old, delta in differences:
            self.counts[np.ix_(items, items)] += np.outer(old, delta) + np.outer(delta, old + delta)
        if self._inverse is not None:
            self._pending += differences
        return before

    def update(self, anew: bool = False) -> InverseUpdate:
        """Return how the inverse comes to know all that G knows: to be computed, then adopted, before the next one.

        `anew` takes it from G alone, which ends its drift.
        """
        inverse, differences = self.inverse, self._pending
        self._pending = []
        # A row is a rank-two term, and two passes over the inverse for each rank cost as much as half an inversion
        # from about a sixteenth of the items on.
        anew = anew or 8 * len(differences) > len(self.counts) > _CHANGES_AT_ONCE
        self.changes_since_fit = 0 if anew else self.changes_since_fit + len(differences)
        return InverseUpdate(inverse, differences, self._regularized() if anew else None)

    def adopt(self, inverse: LowRankInverse) -> None:
        """Answer with a computed update from now on."""
        self._inverse = self._fitting(inverse)

    def settle(self) -> None:
        """Let the inverse know all that G knows, here and now."""
        if self._pending:
            self.adopt(self.update().computed())

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which nobody has yet, and for some more."""
        self.n_items = n_items
        old = len(self.counts)
        if n_items <= old:
            return
        room = n_items + n_items // _SHARE_OF_ROOM
        counts = np.zeros((room, room))
        counts[:old, :old] = self.counts
        self.counts = counts
        if self._inverse is not None:
            self._inverse = self._fitting(self._inverse)

    def drift(self, seed: int = 0) -> float:
        """Return the largest entry of (G + lambda I) P - I in some columns, drawn with `seed`: 0 without rounding.

        Settle first: what is pending would count as drift.
        """
        n = len(self.counts)
        columns = np.random.default_rng(seed).permutation(n)[:_DRIFT_COLUMNS].astype(np.int64)
        rows = self.inverse.rows(columns)
        residual = rows @ self.counts + self.regularization * rows
        residual[range(len(columns)), columns] -= 1
        return float(np.abs(residual).max(initial=0))

    def _fitting(self, inverse: LowRankInverse) -> LowRankInverse:
        n = len(self.counts)
        return inverse if len(inverse.diagonal) == n else inverse.widened(n, 1 / self.regularization)

    def _regularized(self) -> NDArray[np.float64]:
        return self.counts + self.regularization * np.eye(len(self.counts))
