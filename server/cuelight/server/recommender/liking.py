"""From what was said to what models learn: which events count as a like."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.store.store import Said, Store

__all__ = [
    "LEAST_LIKED",
    "MIN_VALUE",
    "changed_row",
    "changed_unliked",
    "liked_rows",
    "min_value_of",
    "plain_like",
    "told_rows",
]

MIN_VALUE = "min_value"
"""The setting kept with the data: the value from which on an event is a like."""

LEAST_LIKED = 1.0
"""Where nothing is set: from the first star of a rating on. A plain like never has less than that."""

_ONE_BY_ONE = 8
"""Up to so many words on items each is put in its place; more are sorted together."""


def min_value_of(store: Store) -> float:
    """Return the value from which on an event is a like."""
    kept = store.setting(MIN_VALUE)
    return LEAST_LIKED if kept is None else kept


def plain_like(min_value: float) -> float:
    """Return the value of an event that says nothing but that something is liked: the least that counts.

    Raised later, `min_value` is above it, and the event is no like any more.
    """
    return max(LEAST_LIKED, min_value)


def liked_rows(store: Store, min_value: float) -> list[History]:
    """Return every user's likes, each with weight 1, by the user's place; places nobody has are empty."""
    return told_rows(store, min_value)[0]


def told_rows(store: Store, min_value: float) -> tuple[list[History], list[History]]:
    """Return every user's likes, and what each told of and does not like; both as `liked_rows`.

    Together they are what a user has seen: everything that stands, and nothing that was taken back.
    """
    said = store.interactions()
    n_users = max(store.users.values(), default=-1) + 1
    is_liked = said[:, 2] >= min_value
    return _rows(said[is_liked], n_users), _rows(said[~is_liked], n_users)


def changed_row(row: History, user: int, said: Mapping[int, Said | None], min_value: float) -> History:
    """Return a user's likes after something was said of some items, by place; None where it was taken back."""
    return _changed(row, user, said, lambda value: value >= min_value)


def changed_unliked(row: History, user: int, said: Mapping[int, Said | None], min_value: float) -> History:
    """Return what a user told of and does not like, as `changed_row` does the likes."""
    return _changed(row, user, said, lambda value: value < min_value)


def _rows(said: NDArray[np.float64], n_users: int) -> list[History]:
    users, items, _, times_s = said.T
    places = items.astype(np.int64)
    bounds = np.searchsorted(users, np.arange(n_users + 1))
    return [
        History(places[start:end], np.ones(end - start), times_s[start:end], user)
        for user, (start, end) in enumerate(pairwise(bounds))
    ]


def _changed(row: History, user: int, said: Mapping[int, Said | None], counts: Callable[[float], bool]) -> History:
    if len(said) > _ONE_BY_ONE:
        counting = {item: now[1] for item, now in said.items() if now is not None and counts(now[0])}
        kept = ~np.isin(row.items, list(said))
        return History.of(
            np.append(row.items[kept], np.array(list(counting), np.int64)),
            1.0,
            np.append(row.times_s[kept], list(counting.values())),
            user,
        )
    items, times_s = row.items, row.times_s
    for item, now in said.items():
        at = int(items.searchsorted(item))
        end = at + (at < len(items) and int(items[at]) == item)
        counting_s = [] if now is None or not counts(now[0]) else [now[1]]
        items = np.concatenate([items[:at], np.array([item] * len(counting_s), np.int64), items[end:]])
        times_s = np.concatenate([times_s[:at], np.array(counting_s, np.float64), times_s[end:]])
    return History(items, np.ones(len(items)), times_s, user)
