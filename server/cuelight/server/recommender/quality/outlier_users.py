"""Users who behave like none of the others: bots, testers, shared accounts, uploads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions

__all__ = ["MIN_EVENTS_TO_JUDGE", "OutlierUsers", "find_outlier_users"]

MIN_EVENTS_TO_JUDGE = 10
"""Whoever said less may well have said it at once, or always the same."""

_OUTER_FENCE = 3.0
"""Quartile distances above the upper quartile. Source: Tukey, Exploratory data analysis, 1977, 2D: far out."""

_LEAST_TIMES_MEDIAN = 10.0
"""Where most users have equally many events the quartiles say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class OutlierUsers:
    """Places of users, ascending; `events` (users,) counts each one's rows."""

    events: NDArray[np.int64]
    far_more: NDArray[np.int64]
    """Beyond Tukey's outer fence of the logarithm of counts, and 10 times the median."""
    one_second: NDArray[np.int64]
    """All of their events, 10 at least, are in one second."""
    one_value: NDArray[np.int64]
    """All of theirs, 10 at least, have one value, in a file of several."""


def find_outlier_users(told: Interactions) -> OutlierUsers:
    """Look at each user's rows as a whole."""
    events = np.bincount(told.users, minlength=len(told.user_ids))
    judged = events >= MIN_EVENTS_TO_JUDGE
    one_second = _all_equal(told.users, np.floor(told.times_s), len(events)) & judged & told.has_times
    several = bool(np.ptp(told.values)) if len(told) else False
    one_value = _all_equal(told.users, told.values, len(events)) & judged & several
    return OutlierUsers(events, _far_more(events), np.flatnonzero(one_second), np.flatnonzero(one_value))


def _far_more(events: NDArray[np.int64]) -> NDArray[np.int64]:
    active = events[events > 0]
    if not len(active):
        return np.zeros(0, np.int64)
    lower, median, upper = np.percentile(np.log(active), (25, 50, 75))
    fence = np.exp(upper + _OUTER_FENCE * (upper - lower))
    return np.flatnonzero(events > max(fence, _LEAST_TIMES_MEDIAN * np.exp(median)))


def _all_equal(users: NDArray[np.int64], values: NDArray[np.float64], n_users: int) -> NDArray[np.bool_]:
    lowest, highest = np.full(n_users, np.inf), np.full(n_users, -np.inf)
    np.minimum.at(lowest, users, values)
    np.maximum.at(highest, users, values)
    return np.asarray(lowest == highest, np.bool_)
