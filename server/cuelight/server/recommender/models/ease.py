"""EASE: a linear model from items to items with a closed form, the strongest of the classical ones here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.gram import Gram
from cuelight.server.recommender.history import History, stacked
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
        rows = stacked(histories, len(inverse.diagonal))
        scores: NDArray[np.float64] = rows.toarray() - inverse.times(rows) / inverse.diagonal
        return scores[:, : self._gram.n_items]

    def reasons(self, history: History, item: int) -> tuple[Reason, ...]:
        """Return the shares of the history's items; see `Scorer`."""
        inverse = self._gram.inverse
        column = inverse.rows(np.array([item]))[0]
        shares = -history.weights * column[history.items] / inverse.diagonal[item]
        shares[history.items == item] = 0
        return shares_of_items(history.items, shares)
