"""How good a ranking is, and what else it is: figures of one list, and of all lists together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemFeatures

__all__ = ["coverage", "diversity", "ndcg", "novelty", "recall"]


def ndcg(hits: NDArray[np.bool_], n_relevant: int, depth: int = 10) -> float:
    """Return the discounted gain of a list, 0 to 1: `hits` (at least depth,) says which places hold a relevant item.

    The ideal list has min(depth, n_relevant) hits at its top; n_relevant is 1 or more.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002, with binary gains and
    a discount of 1 / log2(rank + 1).
    """
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    gain = discounts[: len(hits)][hits[:depth]].sum()
    return float(gain / discounts[: min(depth, n_relevant)].sum())


def recall(hits: NDArray[np.bool_], n_relevant: int, depth: int = 20) -> float:
    """Return which share of the relevant items, 1 or more, is among the first `depth`."""
    return float(hits[:depth].sum() / n_relevant)


def coverage(lists: Sequence[NDArray[np.int64]], n_items: int) -> float:
    """Return which share of the catalogue is in some list."""
    return len(np.unique(np.concatenate(lists))) / n_items if lists else 0.0


def diversity(lists: Sequence[NDArray[np.int64]], features: ItemFeatures) -> float:
    """Return how unlike the items of a list are: the mean of 1 - cosine over its pairs, and then over lists.

    Source: Ziegler et al., WWW 2005.
    """
    unlike = []
    for places in lists:
        n = len(places)
        if n > 1:
            similarities = features.between(places, places)
            pairs = float(similarities.sum() - similarities.trace())
            unlike.append(1 - pairs / (n * (n - 1)))
    return float(np.mean(unlike)) if unlike else 0.0


def novelty(lists: Sequence[NDArray[np.int64]], users_of_item: NDArray[np.int64], n_users: int) -> float:
    """Return how little known the listed items are: the mean of -log2 of the share of users who have an item, in bits.

    Items nobody has count as if one user had them. Source: Zhou et al., PNAS 2010, "surprisal".
    """
    if not lists:
        return 0.0
    shares = np.maximum(users_of_item, 1) / n_users
    return float(np.mean([-np.log2(shares[places]).mean() for places in lists]))
