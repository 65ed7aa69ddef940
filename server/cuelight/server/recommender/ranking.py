"""From scores to a list: who may be in it, and in which order."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["diverse", "top"]


def top(
    scores: NDArray[np.float64],
    n: int,
    allowed: NDArray[np.bool_] | None = None,
    popularity: Callable[[], NDArray[np.float64]] | None = None,
) -> NDArray[np.int64]:
    """Return the places of the `n` highest of `scores` (items,), best first; of equal ones the lower place first.

    Only places that are `allowed` (items,), so there may be fewer than n. With `popularity`, which returns (items,) and
    is asked only where scores are equal, the more popular of equal ones first.
    """
    places = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    if n < len(places):
        candidates = scores[places]
        last = np.partition(candidates, len(candidates) - n)[len(candidates) - n] if n else np.inf
        places = places[candidates >= last]
        if popularity is not None and len(places) > n:
            above, equal = places[scores[places] > last], places[scores[places] == last]
            places = np.concatenate([above, equal[top(popularity()[equal], n - len(above))]])
    ranked: NDArray[np.int64] = places[np.argsort(-scores[places], kind="stable")]
    if popularity is not None and _has_equal(scores[ranked]):
        ranked = ranked[np.lexsort((ranked, -popularity()[ranked], -scores[ranked]))]
    return ranked[:n]


def _has_equal(descending: NDArray[np.float64]) -> bool:
    return bool((descending[1:] == descending[:-1]).any())


def diverse(
    ranked: NDArray[np.int64], scores: NDArray[np.float64], similarities: NDArray[np.float64], n: int, diversity: float
) -> NDArray[np.int64]:
    """Return `n` of the places in `ranked`, chosen one by one for their score and for being unlike those before.

    The next is the one with the highest (1 - diversity) * score - diversity * similarity, where scores are stretched to
    0 to 1 over `ranked` and the similarity is that to the most similar one chosen; `similarities` (ranked, ranked).

    Source: Carbonell and Goldstein, The use of MMR, SIGIR 1998.
    """
    worth = scores[ranked] - scores[ranked].min(initial=np.inf)
    worth = worth / (worth.max(initial=0) or 1)
    nearest = np.zeros(len(ranked))
    left = np.ones(len(ranked), np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(n, len(ranked)):
        gain = np.where(left, (1 - diversity) * worth - diversity * nearest, -np.inf)
        best = int(gain.argmax())
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, similarities[best])
    return ranked[chosen]
