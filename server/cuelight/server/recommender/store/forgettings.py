"""Which forgettings a model that was trained apart has not heard of, told in the database they happen in.

Every forgetting of somebody with events gets a number, and with it the first event that it took away. A model that was
read at event number `last_event`, after so many forgettings, knows somebody who was forgotten exactly if a later one
took away an event up to its own. Kept as settings, `forgettings` and `forgotten N`; a row that a later one says more
than is dropped, so there are few. No word of who it was.
"""

import sqlite3
from collections.abc import Iterable

__all__ = ["count_forgettings", "forgotten_since", "note_forgetting"]

_COUNT = "SELECT value FROM settings WHERE name = 'forgettings'"
_FIRST_EVENT = "SELECT min(sequence) FROM events WHERE user = ?"
_DROP_LESS = "DELETE FROM settings WHERE name GLOB 'forgotten *' AND value >= ?"
_SINCE = """
    SELECT EXISTS (
        SELECT 1 FROM settings
        WHERE name GLOB 'forgotten *' AND CAST(substr(name, length('forgotten ') + 1) AS INTEGER) > ? AND value <= ?
    )
"""


def note_forgetting(connection: sqlite3.Connection, users: Iterable[int]) -> None:
    """Note that users, by place, are about to be forgotten; within the transaction that deletes their events."""
    firsts = [connection.execute(_FIRST_EVENT, (user,)).fetchone()[0] for user in users]
    first = min((first for first in firsts if first is not None), default=None)
    if first is None:
        return
    number = count_forgettings(connection) + 1
    connection.execute(_DROP_LESS, (first,))
    rows = [("forgettings", number), (f"forgotten {number}", first)]
    connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)


def count_forgettings(connection: sqlite3.Connection) -> int:
    """Return how often somebody was forgotten."""
    found = connection.execute(_COUNT).fetchone()
    return 0 if found is None else int(found[0])


def forgotten_since(connection: sqlite3.Connection, forgettings: int, last_event: int) -> bool:
    """Return whether any forgetting after the first so many took away an event up to number `last_event`."""
    return bool(connection.execute(_SINCE, (forgettings, last_event)).fetchone()[0])
