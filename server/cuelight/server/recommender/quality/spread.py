"""How much there is of everything: users, items, values, and how unevenly items share what is said."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.quality.duplicates import first_alike

__all__ = ["FEW_EVENTS", "Spread", "find_spread", "places_below", "share_of_top", "value_counts"]

FEW_EVENTS = 5
"""With fewer a user or an item is as good as cold. Source: the 5-core that evaluations of recommenders filter to."""

_MAX_VALUES = 12
_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """`user_events` and `item_events` count each one's rows: (users,) and (items,)."""

    pairs: int
    """Of a user and an item, each counted once."""
    density: float
    """Share of all pairs of the file's users and items."""
    user_events: NDArray[np.int64]
    item_events: NDArray[np.int64]
    liked: float
    """Share of rows, those that take back left out, whose value is a like."""
    mean_value: float


def find_spread(told: Interactions, min_value: float) -> Spread:
    """Count; there must be one row at least."""
    stated = told.stated
    pairs = len(np.unique(first_alike(told.users, told.items)))
    return Spread(
        pairs,
        pairs / (len(told.user_ids) * len(told.item_ids)),
        np.bincount(told.users, minlength=len(told.user_ids)),
        np.bincount(told.items, minlength=len(told.item_ids)),
        float(np.mean(stated >= min_value)) if len(stated) else 0.0,
        float(np.mean(stated)) if len(stated) else 0.0,
    )


def share_of_top(counts: NDArray[np.int64], share: float) -> float:
    """Return which share of all counts the greatest ones have; `share` of them are taken, one at least."""
    n_top = max(1, int(np.ceil(share * len(counts) - 1e-9)))  # 0.1 * 30 is a little more than 3
    return float(np.sort(counts)[::-1][:n_top].sum() / counts.sum())


def value_counts(values: NDArray[np.float64]) -> tuple[tuple[str, int], ...]:
    """Return how often each value comes, or where there are more than 12, how many are in each of 10 equal ranges."""
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= _MAX_VALUES:
        return tuple((f"{value:g}", int(count)) for value, count in zip(different, counts, strict=True))
    counts, edges = np.histogram(values, _BINS)
    ranges = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges.tolist())]
    return tuple(zip(ranges, counts.tolist(), strict=True))


def places_below(values: NDArray[np.float64], bound: float) -> float:
    """Return how many of the places of `value_counts` are below a bound; in a range, the share of it that is."""
    different = np.unique(values)
    if len(different) <= _MAX_VALUES:
        return float((different < bound).sum())
    low, high = float(different[0]), float(different[-1])
    return float(np.clip(_BINS * (bound - low) / (high - low), 0, _BINS))
