"""Item-based cosine: what is liked by the same people as what is in the history."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.gram import Gram, GramChange
from cuelight.server.recommender.history import History, stacked
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["ItemCosine"]

_ALL_AT_ONCE = 64
"""Above so many changed rows every threshold is looked at anew."""


class ItemCosine:
    """score(j) = sum over history items i among the `neighbours` most similar to j of x_i s(i, j), where
    s(i, j) = G_ij / (sqrt(G_ii G_jj) + shrinkage) and s(j, j) = 0. Items as similar as the last neighbour count too.

    Per item only the similarity of its last neighbour is kept; one that a change may have moved is found anew when it
    is next needed. One thread owns it, the same that owns `gram`.

    Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004; shrinkage as in
    Bell and Koren, ICDM 2007.
    """

    name = "item_cosine"

    def __init__(self, gram: Gram, neighbours: int = 100, shrinkage: float = 10.0) -> None:
        self._gram = gram
        self._neighbours = neighbours
        self._shrinkage = shrinkage
        self._thresholds = np.zeros(len(gram.counts))
        self._stale = np.ones(len(gram.counts), np.bool_)

    def learn(self, change: GramChange) -> None:
        """Note whose neighbours may be others now that rows of G have changed."""
        if len(change.items) > _ALL_AT_ONCE:
            self._stale[:] = True
            return
        before = self._similarities(change.items, change.rows_before, change.diagonal_before)
        after = self.similarities(change.items)
        above = (before > self._thresholds) & (after > self._thresholds)
        below = (before < self._thresholds) & (after < self._thresholds)
        self._stale |= ((before != after) & ~above & ~below).any(axis=0)
        self._stale[change.items] = True

    def widen(self) -> None:
        """Make as much room as the Gram has."""
        new = len(self._gram.counts) - len(self._stale)
        self._thresholds = np.append(self._thresholds, np.zeros(new))
        self._stale = np.append(self._stale, np.ones(new, np.bool_))

    def similarities(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how similar each of `items` (t,) is to every item: (t, n), 0 to 1; to itself 0."""
        return self._similarities(items, self._gram.counts[items], self._gram.counts.diagonal())

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        items = np.unique(np.concatenate([np.empty(0, np.int64), *(history.items for history in histories)]))
        weights = stacked(histories, len(self._stale))[:, items]
        scores: NDArray[np.float64] = weights @ self._cut(items)
        return scores[:, : self._gram.n_items]

    def reasons(self, history: History, item: int) -> tuple[Reason, ...]:
        """Return the shares of the history's items; see `Scorer`."""
        return shares_of_items(history.items, history.weights * self._cut(history.items)[:, item])

    def _cut(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the similarities of `items` to the items they are neighbours of, 0 to others: (t, n)."""
        similarities = self.similarities(items)
        similarities[similarities < self._fresh_thresholds()] = 0
        return similarities

    def _fresh_thresholds(self) -> NDArray[np.float64]:
        stale = np.flatnonzero(self._stale)
        n = len(self._stale)
        if len(stale) and n > self._neighbours:
            last = n - self._neighbours
            self._thresholds[stale] = np.partition(self.similarities(stale), last, axis=1)[:, last]
        self._stale[stale] = False
        return self._thresholds

    def _similarities(
        self, items: NDArray[np.int64], rows: NDArray[np.float64], diagonal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        norms = np.sqrt(np.maximum(diagonal, 0))
        bound = np.outer(norms[items], norms) + self._shrinkage
        similarities: NDArray[np.float64] = np.divide(rows, bound, out=np.zeros_like(rows), where=bound > 0)
        similarities[range(len(items)), items] = 0
        return similarities
