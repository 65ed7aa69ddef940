"""User-based cosine: what people with a similar history like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cuelight.server.recommender.history import History, stacked
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["UserCosine"]


class UserCosine:
    """score(j) = sum over the `neighbours` users v most similar to the history x of s(x, v) v_j, where
    s(x, v) = x'v / (|x| |v| + shrinkage). The asking user is nobody's own neighbour; users as similar as the last
    neighbour count too. Reads the table at every call, so it never needs to learn. One thread owns it and the table.

    Source: Herlocker et al., An algorithmic framework for performing collaborative filtering, SIGIR 1999, for implicit
    feedback as in Dacrema et al., RecSys 2019.
    """

    name = "user_cosine"

    def __init__(self, table: InteractionTable, neighbours: int = 100, shrinkage: float = 10.0) -> None:
        self._table = table
        self._neighbours = neighbours
        self._shrinkage = shrinkage

    def similarities(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return how similar each history is to every known user, the asking one left out: (histories, users)."""
        asking = stacked(histories, self._table.n_items)
        rows = self._table.products()
        products = rows.with_all(asking)
        bound = np.outer([_norm(history) for history in histories], rows.norms) + self._shrinkage
        similarities: NDArray[np.float64] = np.divide(products, bound, out=np.zeros_like(products), where=bound > 0)
        for row, history in enumerate(histories):
            if history.user is not None and history.user < len(self._table):
                similarities[row, history.user] = 0
        return similarities

    def similarity(self, first: History, second: History) -> float:
        """Return how similar two histories are."""
        _, here, there = np.intersect1d(first.items, second.items, assume_unique=True, return_indices=True)
        bound = _norm(first) * _norm(second) + self._shrinkage
        return float(first.weights[here] @ second.weights[there]) / bound if bound else 0.0

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        near = self._cut(self.similarities(histories))
        users = np.flatnonzero(near.any(axis=0))
        scores: NDArray[np.float64] = (csr_array(near[:, users]) @ self._rows(users)).toarray()
        return scores

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items: what each adds to the similarity of neighbours who like an item."""
        users = np.flatnonzero(self._cut(self.similarities([history]))[0])
        rows = self._rows(users)
        likes = rows[:, items].toarray().T
        bound = _norm(history) * self._table.products().norms[users] + self._shrinkage
        votes = np.divide(likes, bound, out=np.zeros_like(likes), where=bound > 0)
        return shares_of_items(history.items, history.weights * (votes @ rows[:, history.items].toarray()))

    def _rows(self, users: NDArray[np.int64]) -> Any:
        return stacked([self._table.row(int(user)) for user in users], self._table.n_items)

    def _cut(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        users = similarities.shape[1]
        if users > self._neighbours:
            last = users - self._neighbours
            thresholds = np.partition(similarities, last, axis=1)[:, last]
            similarities[similarities < thresholds[:, None]] = 0
        return similarities


def _norm(history: History) -> float:
    return float(np.sqrt(np.sum(history.weights**2)))
