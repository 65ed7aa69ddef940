"""From scores to a list: who may be in it, and in which order."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["top"]


def top(scores: NDArray[np.float64], n: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return the places of the `n` highest of `scores` (items,), best first; of equal ones the lower place first.

    Only places that are `allowed` (items,), so there may be fewer than n.
    """
    places = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    if n < len(places):
        candidates = scores[places]
        last = np.partition(candidates, len(candidates) - n)[len(candidates) - n] if n else np.inf
        places = places[candidates >= last]
    order = np.argsort(-scores[places], kind="stable")[:n]
    ranked: NDArray[np.int64] = places[order]
    return ranked
