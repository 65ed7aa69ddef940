"""How events, users and items come in over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions

__all__ = ["Growth", "find_growth"]

_MAX_PERIODS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Periods of equal length from the first event to the last; counts are (periods,)."""

    starts_s: NDArray[np.float64]
    events: NDArray[np.int64]
    new_users: NDArray[np.int64]
    """Whose first event is in the period."""
    new_items: NDArray[np.int64]


def find_growth(told: Interactions, least_s: float, greatest_s: float) -> Growth:
    """Count by period what has a time within bounds; none makes no periods."""
    within = (told.times_s >= least_s) & (told.times_s <= greatest_s)
    times_s = told.times_s[within]
    if not len(times_s):
        nothing = np.zeros(0, np.int64)
        return Growth(np.zeros(0), nothing, nothing, nothing)
    start_s, end_s = float(times_s.min()), float(times_s.max())
    n_periods = _MAX_PERIODS if end_s > start_s else 1
    length_s = (end_s - start_s) / n_periods or 1.0

    def by_period(found_s: NDArray[np.float64]) -> NDArray[np.int64]:
        period = np.minimum((found_s - start_s) // length_s, n_periods - 1).astype(np.int64)
        return np.bincount(period, minlength=n_periods)

    return Growth(
        start_s + length_s * np.arange(n_periods, dtype=np.float64),
        by_period(times_s),
        by_period(_first(told.users[within], times_s)),
        by_period(_first(told.items[within], times_s)),
    )


def _first(places: NDArray[np.int64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first time of each place that has one."""
    order = np.lexsort((times_s, places))
    _, firsts = np.unique(places[order], return_index=True)
    return times_s[order][firsts]
