"""EASE: a linear model from items to items with a closed form, the strongest of the classical ones here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.gram import Gram
from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["Ease"]


class Ease:
    """score(j) = sum over history items i other than j of x_i B_ij, where B_ij = -P_ij / P_jj, P = (G + lambda I)^-1.

    B is never built: with the diagonal of B at 0, x B = x - x P / diag(P). Reads `gram` at every call, so it knows
    what the Gram's inverse knows. One thread owns both.

    Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019, equation 8.
    """

    name = "ease"

    def __init__(self, gram: Gram) -> None:
        self._gram = gram

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        inverse = self._gram.inverse
        n = min(len(inverse), len(self._gram.rows))
        products = np.empty((len(histories), len(inverse)))
        known = [self._known(history) for history in histories]
        for product, (rows, weights) in zip(products, known, strict=True):
            inverse.add_up(rows, weights, product)
        scores = np.divide(products[:, :n], -inverse.diagonal[:n], out=products[:, :n])
        for row, (rows, weights) in enumerate(known):
            scores[row, rows] += weights
        return self._gram.rows.spread(scores)

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items; see `Scorer`."""
        inverse = self._gram.inverse
        explained, liked = self._gram.rows.of(items), self._gram.rows.of(history.items)
        known = np.flatnonzero((explained >= 0) & (explained < len(inverse)))
        has_say = np.flatnonzero((liked >= 0) & (liked < len(inverse)))
        rows, columns = explained[known], liked[has_say]
        entries = inverse.entries(rows, columns) / -inverse.diagonal[rows, np.newaxis]
        entries[rows[:, np.newaxis] == columns] = 0
        shares = np.zeros((len(items), len(history)))
        shares[np.ix_(known, has_say)] = history.weights[has_say] * entries
        return shares_of_items(history.items, shares)

    def _known(self, history: History) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return rows and weights of items that the inverse knows; another one's B is 0 beside the diagonal."""
        rows, weights = self._gram.known(history)
        inside = rows < len(self._gram.inverse)
        return rows[inside], weights[inside]
