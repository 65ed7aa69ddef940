"""The interactions of a file, as columns in the order of its lines."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.columns import column, needed_column, read_table
from cuelight.server.recommender.importing.ids import ids_by_place
from cuelight.server.recommender.importing.numbers import numbers, seconds
from cuelight.server.recommender.importing.text_file import where
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


def read_interactions(path: Path) -> Interactions:
    """Return the interactions of a file: columns user and item, and if there are any value, time and event id.

    Raises: ConfigError when the file cannot be read, with its line where something in it is wrong.
    """
    table = read_table(path)
    users, user_ids = ids_by_place(needed_column(table, "user", path), "user", path)
    items, item_ids = ids_by_place(needed_column(table, "item", path), "item", path)
    values, times, events = column(table, "value"), column(table, "time"), column(table, "event")
    withdrawn = _withdrawn(table, path)
    return Interactions(
        users,
        items,
        _values(values, withdrawn, len(users), path),
        np.zeros(len(users)) if times is None else seconds(times, path),
        user_ids,
        item_ids,
        None if events is None else _each(*ids_by_place(events, "event", path)),
        values is not None,
        times is not None,
        withdrawn,
    )


def check_times(told: Interactions, path: Path, now_s: float) -> None:
    """Refuse times that the store would refuse, before any event is recorded. Raises: ConfigError naming the line."""
    odd = np.flatnonzero((told.times_s < 0) | (told.times_s > now_s + FUTURE_TOLERANCE_S))
    if len(odd):
        row = int(odd[0])
        raise ConfigError(
            f"{where(path, row)}: time: expected seconds of Unix time, {FUTURE_TOLERANCE_S:.0f} s from now at most, "
            f"got {told.times_s[row]:.15g}; {len(odd):,} rows are such"
        )


def _own_id(user: str, item: str, time_s: float) -> str:
    """Return the id of an event that has none; long ones are digests, of one length."""
    name = f"import {user} {item} {time_s:.15g}"
    if len(name) * _MAX_UTF_8_BYTES <= MAX_ID_BYTES or len(name.encode()) <= MAX_ID_BYTES:
        return name
    return f"import {hashlib.sha256(name.encode()).hexdigest()}"


def _withdrawn(table: Any, path: Path) -> NDArray[np.bool_] | None:
    found = column(table, "withdrawn")
    if found is None:
        return None
    cells = found.to_pylist()
    odd = next((row for row, cell in enumerate(cells) if cell not in {None, True, False}), None)
    if odd is not None:
        raise ConfigError(f"{where(path, odd)}: withdrawn: expected true or false, got {cells[odd]!r}")
    flags = np.array([bool(cell) for cell in cells], np.bool_)
    return flags if flags.any() else None


def _values(found: Any, withdrawn: NDArray[np.bool_] | None, rows: int, path: Path) -> NDArray[np.float64]:
    if found is None:
        values = np.ones(rows)
    else:
        values = numbers(found, "value", path, needed=None if withdrawn is None else ~withdrawn)
    return values if withdrawn is None else np.where(withdrawn, 0.0, values)


def _each(places: NDArray[np.int64], ids: tuple[str, ...]) -> list[str]:
    return [ids[place] for place in places.tolist()]
