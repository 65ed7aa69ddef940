"""The table of events: many at a time in, how things stand out. A Store's; its transactions are made there."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.store.events import Event

__all__ = ["EventRows", "Pair", "Row", "Said"]

_CACHE_FOR_MANY_KIB = 256 * 1024
"""Events come in no order of the indexes: where their pages do not fit, each is written and read again and again."""
_AT_ONCE = 64
_NEW = "INSERT INTO events (id, user, item, value, time_s) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_RECORD = "INSERT INTO events (id, user, item, value, time_s) VALUES (?, ?, ?, ?, ?)"
_KNOWN = "SELECT id FROM events WHERE id IN ({values})"
_LATEST = """
    WITH pair (user, item) AS (VALUES {values})
    SELECT events.user, events.item, value, time_s FROM pair JOIN events ON sequence = (
        SELECT sequence FROM events WHERE user = pair.user AND item = pair.item
        ORDER BY time_s DESC, sequence DESC LIMIT 1
    )
"""
_ALL = "SELECT user, item, ifnull(value, 9e999), time_s FROM events ORDER BY sequence"
_TOLD = np.dtype([("user", np.int64), ("item", np.int64), ("value", np.float64), ("time_s", np.float64)])
_USERS_OF_ITEM = "SELECT DISTINCT user FROM events WHERE item = ?"
_TOLD_SINCE = """
    SELECT DISTINCT items.id FROM users JOIN events ON events.user = users.place JOIN items ON items.place = events.item
    WHERE users.id = ? AND time_s >= ?
"""
_ITEMS = "SELECT id FROM items WHERE EXISTS (SELECT 1 FROM events WHERE item = place)"
_OF_USER = """
    SELECT events.id, items.id, value, time_s FROM events JOIN items ON items.place = events.item
    WHERE user = ? ORDER BY sequence
"""

Pair = tuple[int, int]
"""Places of a user and of an item."""

Said = tuple[float, float]
"""What a user has said of an item, as it stands: value, and time in seconds."""

Row = tuple[str, int, int, float | None, float]
"""An event as the table holds it: id, places of user and item, value (None: taken back), and time in seconds."""


class EventRows:
    """The rows. The thread of the Store owns it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def unknown(self, ids: Sequence[str]) -> tuple[bool, ...]:
        """Return for each id whether there is no row of it yet; of one that comes twice, the first is new."""
        known = {event for (event,) in self._in_chunks(_KNOWN, [(event,) for event in ids])}
        first = dict(zip(reversed(ids), reversed(range(len(ids))), strict=True))
        return tuple(event not in known and first[event] == number for number, event in enumerate(ids))

    def add(self, rows: Sequence[Row]) -> dict[Pair, Said | None]:
        """Add rows whose ids are not there yet, and return how things stand with their pairs then."""
        self._connection.executemany(_RECORD, rows)
        return {
            (user, item): None if value is None else (value, time_s)
            for user, item, value, time_s in self._in_chunks(_LATEST, list({row[1:3] for row in rows}))
        }

    @contextmanager
    def many(self) -> Iterator[None]:
        """Be ready for many rows; outside of a transaction."""
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_FOR_MANY_KIB}")
        # The places are our own and of the same transaction; SQLite would look each of them up again.
        self._connection.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA foreign_keys = ON")

    def add_many(self, rows: Iterable[Row]) -> int:
        """Add the rows whose ids are not there yet, and return how many those are."""
        return self._connection.executemany(_NEW, rows).rowcount

    def delete_items(self, places: Sequence[tuple[int]]) -> set[Pair]:
        """Delete all rows about items, and return the pairs there were."""
        pairs = {(user, *place) for place in places for (user,) in self._connection.execute(_USERS_OF_ITEM, place)}
        self._connection.executemany("DELETE FROM events WHERE item = ?", places)
        return pairs

    def standing(self) -> NDArray[np.float64]:
        """Return how things stand: (pairs, 4) of user, item, value and time in seconds; by user, then by item."""
        told = np.fromiter(self._connection.execute(_ALL), _TOLD)
        # The rows come by number, and of equally late ones the last counts: the sort is stable.
        told = told[np.lexsort((told["time_s"], told["item"], told["user"]))]
        counts = np.isfinite(told["value"])
        counts[:-1] &= (told["user"][1:] != told["user"][:-1]) | (told["item"][1:] != told["item"][:-1])
        return np.column_stack([told[name][counts] for name in ("user", "item", "value", "time_s")])

    def told_since(self, user: str, time_s: float) -> list[str]:
        """Return items of which a user told at a time or later."""
        return [item for (item,) in self._connection.execute(_TOLD_SINCE, (user, time_s))]

    def items(self) -> frozenset[str]:
        """Return the ids of items that there are rows about."""
        return frozenset(item for (item,) in self._connection.execute(_ITEMS))

    def of_user(self, user: str, place: int | None) -> list[Event]:
        """Return every event of a user, in the order it came."""
        found = self._connection.execute(_OF_USER, (place,))
        return [Event(event, user, item, value, time_s) for event, item, value, time_s in found]

    def last_sequence(self) -> int:
        """Return the number of the last row that was added, deleted ones included; 0 before the first."""
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return 0 if found is None else int(found[0])

    def count(self) -> int:
        """Return how many rows there are."""
        [count] = self._connection.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def _in_chunks(self, query: str, values: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds for so many values at a time, the last ones asked for again to make up a chunk.

        A statement for each of them would take longer than what it finds; one for any number would be compiled anew.
        """
        for start in range(0, len(values), _AT_ONCE):
            chunk = list(values[start : start + _AT_ONCE])
            one = f"({', '.join('?' * len(chunk[0]))})"
            size = 1 if len(chunk) == 1 else _AT_ONCE
            chunk += chunk[-1:] * (size - len(chunk))
            yield from self._connection.execute(
                query.format(values=", ".join([one] * size)), [field for each in chunk for field in each]
            )
