"""Content cosine: items described alike, by tags, title or embeddings. The one model that knows new items."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.history import History, stacked
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["ContentCosine"]


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
        weights = stacked(histories, self._features.matrix.shape[0])
        totals = np.array([_total(history) for history in histories]).reshape(-1, 1)
        scores: NDArray[np.float64] = self._features.to_all(weights) / totals
        return scores

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items; see `Scorer`."""
        cosines = self._features.between(items, history.items)
        return shares_of_items(history.items, history.weights * cosines / _total(history))

    def feature_reasons(self, history: History, item: int) -> tuple[Reason, ...]:
        """Return the shares of the item's features instead, an embedding being one: they too add up to the score."""
        profile = history.weights @ self._features.matrix[history.items] / _total(history)
        described = self._features.matrix[[item]]
        names = (self._features.names[i] for i in described.indices)
        named = list(zip(names, described.data * profile[described.indices], strict=True))
        for block in self._features.dense:
            cosines = block.between(history.items, np.array([item]))[:, 0]
            named.append((f"embedding {block.space}", history.weights @ cosines / _total(history)))
        named.sort(key=lambda entry: -entry[1])
        return tuple(Reason(float(share), feature=name) for name, share in named if share)


def _total(history: History) -> float:
    return float(np.abs(history.weights).sum()) or 1.0
