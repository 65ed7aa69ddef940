"""From what was said to what models learn: which events count as a like."""

from collections.abc import Sequence

from cuelight.server.recommender.history import History
from cuelight.server.recommender.store.store import Store, StoredRow

__all__ = ["LEAST_LIKED", "MIN_VALUE", "liked_row", "liked_rows", "min_value_of"]

MIN_VALUE = "min_value"
"""The setting kept with the data: the value from which on an event is a like."""

LEAST_LIKED = 1.0
"""Where nothing is set: a plain like has the value 1, and so has the first star of a rating."""


def min_value_of(store: Store) -> float:
    """Return the value from which on an event is a like."""
    kept = store.setting(MIN_VALUE)
    return LEAST_LIKED if kept is None else kept


def liked_row(row: StoredRow, user: int, min_value: float) -> History:
    """Return what a user likes, each with weight 1: of what the user said, the values from `min_value` on."""
    kept = [(item, time_s) for item, value, time_s in row if value >= min_value]
    return History.of([item for item, _ in kept], 1.0, [time_s for _, time_s in kept], user)


def liked_rows(store: Store, min_value: float) -> Sequence[History]:
    """Return every user's likes, by the user's place; places nobody has are empty."""
    rows = [History.of([], user=place) for place in range(max(store.users.values(), default=-1) + 1)]
    for place, row in store.rows():
        rows[place] = liked_row(row, place, min_value)
    return rows
