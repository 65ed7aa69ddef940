"""From what was said to what models learn: which events count as a like."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from cuelight.server.recommender.history import History
from cuelight.server.recommender.store.store import Said, Store

__all__ = ["LEAST_LIKED", "MIN_VALUE", "changed_row", "liked_rows", "min_value_of"]

MIN_VALUE = "min_value"
"""The setting kept with the data: the value from which on an event is a like."""

LEAST_LIKED = 1.0
"""Where nothing is set: a plain like has the value 1, and so has the first star of a rating."""

_ONE_BY_ONE = 8
"""Up to so many words on items each is put in its place; more are sorted together."""


def min_value_of(store: Store) -> float:
    """Return the value from which on an event is a like."""
    kept = store.setting(MIN_VALUE)
    return LEAST_LIKED if kept is None else kept


def liked_rows(store: Store, min_value: float) -> list[History]:
    """Return every user's likes, each with weight 1, by the user's place; places nobody has are empty."""
    said = store.interactions()
    users, items, _, times_s = said[said[:, 2] >= min_value].T
    places = items.astype(np.int64)
    n_users = max(store.users.values(), default=-1) + 1
    bounds = np.searchsorted(users, np.arange(n_users + 1))
    return [
        History(places[start:end], np.ones(end - start), times_s[start:end], user)
        for user, (start, end) in enumerate(pairwise(bounds))
    ]


def changed_row(row: History, user: int, said: Mapping[int, Said | None], min_value: float) -> History:
    """Return a user's likes after something was said of some items, by place; None where it was taken back."""
    if len(said) > _ONE_BY_ONE:
        liked = {item: now[1] for item, now in said.items() if now is not None and now[0] >= min_value}
        kept = ~np.isin(row.items, list(said))
        return History.of(
            np.append(row.items[kept], np.array(list(liked), np.int64)),
            1.0,
            np.append(row.times_s[kept], list(liked.values())),
            user,
        )
    items, times_s = row.items, row.times_s
    for item, now in said.items():
        at = int(items.searchsorted(item))
        end = at + (at < len(items) and int(items[at]) == item)
        like = [] if now is None or now[0] < min_value else [now[1]]
        items = np.concatenate([items[:at], np.array([item] * len(like), np.int64), items[end:]])
        times_s = np.concatenate([times_s[:at], np.array(like, np.float64), times_s[end:]])
    return History(items, np.ones(len(items)), times_s, user)
