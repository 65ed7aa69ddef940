"""Which forgettings a model that was trained apart has not heard of, told in the database they happen in.

Every forgetting gets a number, and with it the event after which the first of those who were forgotten came. A model
that read everything up to event `last_event`, when so many forgettings had been, knows somebody who was forgotten
exactly if somebody who came before that event was forgotten later. (The user's own events cannot tell: some may have
been deleted with their items.) A row that a later one says more than is dropped, so there are few. None says who.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from cuelight.server.recommender.store.connection import open_database

__all__ = ["count_forgettings", "forgotten_since", "forgotten_until_now", "note_forgetting"]

_COUNT = "SELECT seq FROM sqlite_sequence WHERE name = 'forgettings'"
_SINCE = "SELECT EXISTS (SELECT 1 FROM forgettings WHERE number > ? AND came_after < ?)"


def note_forgetting(connection: sqlite3.Connection, users: Iterable[int]) -> None:
    """Note that users, by place, are about to be forgotten; within the transaction that deletes them."""
    came = [connection.execute("SELECT came_after FROM users WHERE place = ?", (user,)).fetchone()[0] for user in users]
    if came:
        connection.execute("DELETE FROM forgettings WHERE came_after >= ?", (min(came),))
        connection.execute("INSERT INTO forgettings (came_after) VALUES (?)", (min(came),))


def count_forgettings(connection: sqlite3.Connection) -> int:
    """Return how often somebody was forgotten."""
    found = connection.execute(_COUNT).fetchone()
    return 0 if found is None else int(found[0])


def forgotten_since(connection: sqlite3.Connection, forgettings: int, last_event: int) -> bool:
    """Return whether, after the first so many times, somebody was forgotten who came before event `last_event`."""
    return bool(connection.execute(_SINCE, (forgettings, last_event)).fetchone()[0])


def forgotten_until_now(path: Path, forgettings: int, last_event: int) -> bool:
    """Return the same of a database that another process may write to, as it stands now; it is not kept open.

    Raises: ConfigError when it cannot be read.
    """
    connection = open_database(path, read_only=True)
    try:
        return forgotten_since(connection, forgettings, last_event)
    finally:
        connection.close()
