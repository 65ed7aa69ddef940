"""When things happened: what comes too early, too late, in no order or not at all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.store.events import FUTURE_TOLERANCE_S

__all__ = ["MS_PER_S", "YEAR_1995_S", "Gap", "TimeOrder", "are_milliseconds", "find_time_order"]

YEAR_1995_S = 788_918_400.0
"""1995-01-01 UTC: hardly anything that people did online was kept before, so an earlier time is likely a mistake."""

_EXPECTED_IN_A_GAP = 100
"""So many events would have come in a gap, were they spread evenly: chance alone leaves none out with e^-100."""

_LEAST_GAP_S = 86_400.0
"""Shorter ones are nights."""

MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time without an event."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class TimeOrder:
    """Masks are (rows,)."""

    future: NDArray[np.bool_]
    before_1970: NDArray[np.bool_]
    before_1995: NDArray[np.bool_]
    """From 1970 on."""
    going_back: NDArray[np.bool_]
    """Earlier than the row before it of the same user."""
    same_second: NDArray[np.bool_]
    """In one second with another row of the same user, about another item."""
    in_milliseconds: bool
    """What is in the future makes sense if its times are milliseconds."""
    gaps: tuple[Gap, ...]
    """The longest first."""


def find_time_order(told: Interactions, now_s: float) -> TimeOrder:
    """Look at the times of the rows."""
    times_s = told.times_s
    future = times_s > now_s + FUTURE_TOLERANCE_S
    sensible = ~future & (times_s >= YEAR_1995_S)
    return TimeOrder(
        future,
        times_s < 0,
        (times_s >= 0) & (times_s < YEAR_1995_S),
        _going_back(told),
        _same_second(told),
        are_milliseconds(times_s[future], now_s),
        _gaps(np.sort(times_s[sensible])),
    )


def are_milliseconds(times: NDArray[np.float64], now_s: float) -> bool:
    """Return whether all times make sense as milliseconds, if there are any."""
    as_ms = times / MS_PER_S
    return bool(len(as_ms)) and bool(np.all((as_ms >= YEAR_1995_S) & (as_ms <= now_s + FUTURE_TOLERANCE_S)))


def _going_back(told: Interactions) -> NDArray[np.bool_]:
    order = np.argsort(told.users, kind="stable")
    users, times_s = told.users[order], told.times_s[order]
    back = np.zeros(len(order), np.bool_)
    back[order[1:]] = (users[1:] == users[:-1]) & (times_s[1:] < times_s[:-1])
    return back


def _same_second(told: Interactions) -> NDArray[np.bool_]:
    """Sorted by user, second and item, a run of one user and second that has two items has them at its ends."""
    second = np.floor(told.times_s)
    order = np.lexsort((told.items, second, told.users))
    if not len(order):
        return np.zeros(0, np.bool_)
    users, seconds, items = told.users[order], second[order], told.items[order]
    starts = np.flatnonzero(np.append(True, (users[1:] != users[:-1]) | (seconds[1:] != seconds[:-1])))
    lengths = np.diff(np.append(starts, len(order)))
    shared = np.empty(len(order), np.bool_)
    shared[order] = np.repeat(items[starts] != items[starts + lengths - 1], lengths)
    return shared


def _gaps(times_s: NDArray[np.float64]) -> tuple[Gap, ...]:
    if len(times_s) < _EXPECTED_IN_A_GAP:
        return ()
    lengths_s = np.diff(times_s)
    expected = lengths_s * len(times_s) / max(times_s[-1] - times_s[0], _LEAST_GAP_S)
    found = np.flatnonzero((expected >= _EXPECTED_IN_A_GAP) & (lengths_s >= _LEAST_GAP_S))
    longest_first = found[np.argsort(-lengths_s[found], kind="stable")]
    return tuple(Gap(float(times_s[i]), float(times_s[i + 1])) for i in longest_first)
