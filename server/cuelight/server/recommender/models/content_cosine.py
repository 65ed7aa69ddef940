"""Content cosine: items described alike, by tags, title or embeddings. The one model that knows new items."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.history import History, stacked
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["ContentCosine"]


_AT_ONCE = 32
"""Profiles are as wide as there are features: so many are in memory at once."""


class ContentCosine:
    """score(j) = sum over history items i of x_i cos(i, j), divided by the sum of |x_i|: the mean similarity.

    Immutable: made anew when attributes change.

    Source: Lops et al., Content-based recommender systems, in Recommender Systems Handbook, 2011, section 3.3.1, with
    the mean of the liked items as profile.
    """

    name = "content_cosine"

    def __init__(self, features: ItemFeatures) -> None:
        self._features = features

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        matrix = self._features.matrix
        scores = np.empty((len(histories), matrix.shape[0]))
        for start in range(0, len(histories), _AT_ONCE):
            part = histories[start : start + _AT_ONCE]
            # A sparse matrix times a dense profile looks at every feature of every item once, and needs no transpose.
            profiles = (stacked(part, matrix.shape[0]) @ matrix).toarray()
            scores[start : start + len(part)] = (matrix @ profiles.T).T
        scores /= np.array([_total(history) for history in histories]).reshape(-1, 1)
        return scores

    def reasons(self, history: History, item: int) -> tuple[Reason, ...]:
        """Return the shares of the history's items; see `Scorer`."""
        cosines = (self._features.matrix[history.items] @ self._features.matrix[[item]].T).toarray()[:, 0]
        return shares_of_items(history.items, history.weights * cosines / _total(history))

    def feature_reasons(self, history: History, item: int) -> tuple[Reason, ...]:
        """Return the shares of the item's features instead: they too add up to the score."""
        profile = history.weights @ self._features.matrix[history.items] / _total(history)
        described = self._features.matrix[[item]]
        shares = described.data * profile[described.indices]
        order = np.argsort(-shares, kind="stable")
        names = self._features.names
        return tuple(Reason(float(shares[i]), feature=names[described.indices[i]]) for i in order if shares[i])


def _total(history: History) -> float:
    return float(np.abs(history.weights).sum()) or 1.0
