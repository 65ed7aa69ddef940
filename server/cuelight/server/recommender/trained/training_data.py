"""What a training reads of a data folder, beside a server that may write to it meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.liking import liked_rows, min_value_of
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.manifest import Stamp

__all__ = ["LikeRows", "TrainingData", "like_rows", "training_data"]


@dataclass(frozen=True, slots=True, eq=False)
class LikeRows:
    """Likes as a training takes them: `items` and `times_s` of each person (likes,); `places` (numbers,).

    Items have numbers from 0 on, for those alone that somebody likes; `places` says which item has a number.
    """

    items: Sequence[NDArray[np.int64]]
    times_s: Sequence[NDArray[np.float64]]
    places: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """The likes, the ids of their items by number, and what the store was when it was read."""

    rows: LikeRows
    items: tuple[str, ...]
    min_value: float
    stamp: Stamp


def training_data(store: Store) -> TrainingData:
    """Read everybody's likes.

    Forgettings are counted before and events after the likes are read: what happens in between makes the stamp say more
    than was read, never less.
    """
    forgettings = store.forgettings()
    min_value = min_value_of(store)
    ids = {place: item for item, place in store.items.items()}
    rows = [_of_known(row, ids) for row in liked_rows(store, min_value)]
    found = like_rows(rows)
    stamp = Stamp(store.last_sequence(), forgettings)
    return TrainingData(found, tuple(ids[int(place)] for place in found.places), min_value, stamp)


def like_rows(rows: Sequence[History]) -> LikeRows:
    """Return the rows of people who like anything, with numbers for items."""
    liked = [row for row in rows if len(row)]
    places = np.unique(np.concatenate([np.empty(0, np.int64), *(row.items for row in liked)]))
    items = [np.searchsorted(places, row.items) for row in liked]
    return LikeRows(items, [row.times_s for row in liked], places)


def _of_known(row: History, ids: dict[int, str]) -> History:
    """Return a row without items that came after the store was opened."""
    known = np.array([int(item) in ids for item in row.items], np.bool_)
    return row if known.all() else History(row.items[known], row.weights[known], row.times_s[known], row.user)
