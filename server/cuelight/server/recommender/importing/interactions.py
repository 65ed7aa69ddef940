"""The interactions of a file, as columns in the order of its lines."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.columns import read_table
from cuelight.server.recommender.importing.file_table import FileTable, LeftOut
from cuelight.server.recommender.importing.ids import ids_by_place
from cuelight.server.recommender.importing.numbers import numbers, seconds
from cuelight.server.recommender.importing.row_places import RowPlaces
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.importing.truths import truths
from cuelight.server.recommender.store.events import FUTURE_TOLERANCE_S, MAX_ID_BYTES, Event

__all__ = ["Interactions", "check_times", "read_interactions"]

_MAX_UTF_8_BYTES = 4
"""Of one character."""


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """One row an event: places in `user_ids` and `item_ids`, value, time. (rows,) each."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    times_s: NDArray[np.float64]
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    event_ids: Sequence[str] | None = None
    """None where the file has no such column: an event then is known by its user, item and time."""
    has_values: bool = True
    """Else every value is 1."""
    has_times: bool = True
    """Else every time is 0."""
    withdrawn: NDArray[np.bool_] | None = None
    """Rows that take back what the user said of the item before, of value 0 here; None where there is none."""
    places: RowPlaces | None = None
    """Where the rows stand; None where they come from no file."""
    left_out: LeftOut | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def stated(self) -> NDArray[np.float64]:
        """The values of the rows that take nothing back."""
        return self.values if self.withdrawn is None else self.values[~self.withdrawn]

    def events(self) -> Iterator[Event]:
        """Yield the rows as events. One without an id of its own is the same event when it is read again."""
        values: list[float | None] = self.values.tolist()
        for row in [] if self.withdrawn is None else np.flatnonzero(self.withdrawn).tolist():
            values[row] = None
        columns = (self.users.tolist(), self.items.tolist(), values, self.times_s.tolist())
        for row, (user_place, item_place, value, time_s) in enumerate(zip(*columns, strict=True)):
            user, item = self.user_ids[user_place], self.item_ids[item_place]
            ids = self.event_ids
            yield Event(_own_id(user, item, time_s) if ids is None else ids[row], user, item, value, time_s)


def read_interactions(source: Source, now_s: float = math.inf) -> Interactions:
    """Return the interactions of a file: columns user and item, and if there are any value, time and event id.

    Rows with times that the store would refuse at `now_s` are bad ones where the source allows some; else they are
    left to `check_times`. Raises: ConfigError when the file cannot be read, with its line where something in it is
    wrong.
    """
    table = read_table(source)
    users, user_ids = ids_by_place(table, table.needed_column("user"), "user")
    items, item_ids = ids_by_place(table, table.needed_column("item"), "item")
    values, times, events = (table.column(what) for what in ("value", "time", "event"))
    withdrawn = _withdrawn(table)
    times_s = np.zeros(len(users)) if times is None else seconds(table, times)
    found = Interactions(
        users,
        items,
        _values(table, values, withdrawn, len(users)),
        times_s,
        user_ids,
        item_ids,
        None if events is None else _each(*ids_by_place(table, events, "event")),
        values is not None,
        times is not None,
        withdrawn,
    )
    if source.most_bad_rows:
        table.refuse(_odd_times(times_s, now_s), lambda row: _wrong_time(times_s[row]))
    left_out = table.left_out()
    return replace(_only(found, table.kept) if left_out else found, places=table.places, left_out=left_out)


def check_times(told: Interactions, now_s: float) -> None:
    """Refuse times that the store would refuse, before any event is recorded. Raises: ConfigError naming the line."""
    odd = _odd_times(told.times_s, now_s)
    if len(odd):
        row = int(odd[0])
        place = f"{told.places.where(row)}: " if told.places else ""
        raise ConfigError(f"{place}{_wrong_time(told.times_s[row])}; {len(odd):,} rows are such")


def _odd_times(times_s: NDArray[np.float64], now_s: float) -> NDArray[np.int64]:
    return np.flatnonzero((times_s < 0) | (times_s > now_s + FUTURE_TOLERANCE_S))


def _wrong_time(time_s: float) -> str:
    latest = f"{FUTURE_TOLERANCE_S:.0f} s from now at most"
    return f"time: expected seconds of Unix time, {latest}, got {time_s:.15g}"


def _only(found: Interactions, kept: NDArray[np.bool_]) -> Interactions:
    """Return the rows that are kept: (rows,), with the ids that these have."""
    users, items = found.users[kept], found.items[kept]
    user_places, users = np.unique(users, return_inverse=True)
    item_places, items = np.unique(items, return_inverse=True)
    ids = found.event_ids
    withdrawn = None if found.withdrawn is None else found.withdrawn[kept]
    return replace(
        found,
        users=users,
        items=items,
        values=found.values[kept],
        times_s=found.times_s[kept],
        user_ids=tuple(found.user_ids[place] for place in user_places),
        item_ids=tuple(found.item_ids[place] for place in item_places),
        event_ids=None if ids is None else [ids[row] for row in np.flatnonzero(kept).tolist()],
        withdrawn=withdrawn if withdrawn is not None and withdrawn.any() else None,
    )


def _own_id(user: str, item: str, time_s: float) -> str:
    """Return the id of an event that has none; long ones are digests, of one length."""
    name = f"import {user} {item} {time_s:.15g}"
    if len(name) * _MAX_UTF_8_BYTES <= MAX_ID_BYTES or len(name.encode()) <= MAX_ID_BYTES:
        return name
    return f"import {hashlib.sha256(name.encode()).hexdigest()}"


def _withdrawn(table: FileTable) -> NDArray[np.bool_] | None:
    found = table.column("withdrawn")
    if found is None:
        return None
    flags = np.array([bool(cell) for cell in truths(table, found, "withdrawn")], np.bool_)
    return flags if flags.any() else None


def _values(table: FileTable, found: Any, withdrawn: NDArray[np.bool_] | None, rows: int) -> NDArray[np.float64]:
    if found is None:
        values = np.ones(rows)
    else:
        values = numbers(table, found, "value", needed=None if withdrawn is None else ~withdrawn)
    return values if withdrawn is None else np.where(withdrawn, 0.0, values)


def _each(places: NDArray[np.int64], ids: tuple[str, ...]) -> list[str]:
    named = (*ids, "")  # the last one is for rows that have none, which are left out
    return [named[place] for place in places.tolist()]
