"""Item-based cosine: what is liked by the same people as what is in the history."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.gram import Gram, GramChange
from cuelight.server.recommender.growing import Growing
from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["ItemCosine"]

_ROWS_AT_ONCE = 256
"""So many rows of similarities are in memory at once."""
_ROWS_IN_CACHE = 16
"""Several passes over so many rows stay in the processor's cache."""
_ALL_FROM_SHARE = 4
"""Above so many changed rows, one in so many, every threshold is looked at anew."""
_KEPT_BYTES = 64 * 1024 * 1024


class ItemCosine:
    """score(j) = sum over history items i among the `neighbours` most similar to j of x_i s(i, j), where
    s(i, j) = G_ij / (sqrt(G_ii G_jj) + shrinkage) and s(j, j) = 0. Items as similar as the last neighbour count too.

    Per item only the similarity of its last neighbour is kept. Rows of G that change are kept as they were, and the
    next question finds out whose last neighbour the changes may have moved: who never asks pays for a copy of a row
    alone. One thread owns it, the same that owns `gram`.

    Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004; shrinkage as in
    Bell and Koren, ICDM 2007.
    """

    name = "item_cosine"

    def __init__(self, gram: Gram, neighbours: int = 100, shrinkage: float = 10.0) -> None:
        self._gram = gram
        self._neighbours = neighbours
        self._shrinkage = shrinkage
        self._thresholds = Growing(len(gram.rows), 0.0, np.float64)
        self._all_stale = True
        self._before: dict[int, NDArray[np.float64]] = {}
        """Rows that changed since the thresholds were found, as they were then."""
        self._diagonal_before = gram.counts.diagonal().copy()

    def learn(self, change: GramChange) -> None:
        """Note that rows of G have changed."""
        if self._all_stale:
            return
        if not self._before:
            self._diagonal_before = change.diagonal_before
        for row, before in zip(change.rows.tolist(), change.before, strict=True):
            if row not in self._before:
                self._before[row] = before.copy()
        n = len(self._gram.rows)
        if len(self._before) > min(_ALL_FROM_SHARE + n // _ALL_FROM_SHARE, _KEPT_BYTES // max(8 * n, 1)):
            self._all_stale = True
            self._before = {}

    def similarities(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how similar each of `items` (t,) is to every item: (t, items), 0 to 1; to itself 0."""
        rows = self._gram.rows.of(items)
        similarities = np.zeros((len(items), len(self._gram.rows)))
        similarities[rows >= 0] = self._similarities_of_rows(rows[rows >= 0])
        return self._gram.rows.spread(similarities)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        known = [self._gram.known(history) for history in histories]
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in known)]))
        weights = np.zeros((len(known), len(rows)))
        for one, (its_rows, its_weights) in enumerate(known):
            weights[one, np.searchsorted(rows, its_rows)] = its_weights
        thresholds = self._fresh_thresholds()
        scores = np.zeros((len(known), len(thresholds)))
        for start in range(0, len(rows), _ROWS_IN_CACHE):
            part = slice(start, start + _ROWS_IN_CACHE)
            scores += weights[:, part] @ self._cut(rows[part], thresholds)
        return self._gram.rows.spread(scores)

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items; see `Scorer`."""
        explained, liked = self._gram.rows.of(items), self._gram.rows.of(history.items)
        known, has_say = np.flatnonzero(explained >= 0), np.flatnonzero(liked >= 0)
        similarities = self._cut(liked[has_say], self._fresh_thresholds())[:, explained[known]]
        shares = np.zeros((len(items), len(history)))
        shares[np.ix_(known, has_say)] = history.weights[has_say] * similarities.T
        return shares_of_items(history.items, shares)

    def _cut(self, rows: NDArray[np.int64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the similarities of `rows` to the rows they are neighbours of, 0 to others: (t, n)."""
        similarities = self._similarities_of_rows(rows)
        similarities *= similarities >= thresholds
        return similarities

    def _fresh_thresholds(self) -> NDArray[np.float64]:
        n = len(self._gram.rows)
        self._thresholds.widen(n)
        thresholds = self._thresholds.view
        if n > self._neighbours:
            last = n - self._neighbours
            stale = np.arange(n) if self._all_stale else self._stale_rows()
            for start in range(0, len(stale), _ROWS_AT_ONCE):
                part = stale[start : start + _ROWS_AT_ONCE]
                thresholds[part] = np.partition(self._similarities_of_rows(part), last, axis=1)[:, last]
        self._all_stale = False
        self._before = {}
        return thresholds

    def _stale_rows(self) -> NDArray[np.int64]:
        """Return the rows that changed, and those to which a changed one was or is as similar as the last neighbour."""
        rows = np.array(list(self._before), np.int64)
        n, thresholds = len(self._gram.rows), self._thresholds.view
        stale = np.zeros(n, np.bool_)
        stale[rows] = True
        # A row that came since then was one of zeros.
        diagonal_before = np.pad(self._diagonal_before, (0, n - len(self._diagonal_before)))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            counts = np.stack([np.pad(row, (0, n - len(row))) for row in map(self._before.__getitem__, part.tolist())])
            before = self._similarities(part, counts, diagonal_before)
            after = self._similarities_of_rows(part)
            above = (before > thresholds) & (after > thresholds)
            below = (before < thresholds) & (after < thresholds)
            stale |= ((before != after) & ~above & ~below).any(axis=0)
        return np.flatnonzero(stale)

    def _similarities_of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._similarities(rows, self._gram.counts[rows], self._gram.counts.diagonal())

    def _similarities(
        self, rows: NDArray[np.int64], counts: NDArray[np.float64], diagonal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        norms = np.sqrt(np.maximum(diagonal, 0))
        bound = np.outer(norms[rows], norms)
        bound += self._shrinkage
        if not self._shrinkage:
            bound[bound == 0] = 1  # who is liked by nobody has counts of 0
        similarities: NDArray[np.float64] = np.divide(counts, bound, out=bound)
        similarities[np.arange(len(rows)), rows] = 0
        return similarities
