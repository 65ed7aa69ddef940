"""The durable truth: users, items and events in one SQLite database, in a folder that one process holds.

    record, upsert_items, ...   one transaction each; when they return, it is on the disk (WAL, synchronous=FULL)
    forget_users, compact       delete, overwrite, rewrite: no byte of the id is left in the folder
    kill -9, power cut          what returned is there, what did not is there wholly or not at all

SQLite calls block, for an fsync at least: never on the event loop. One thread owns a Store.

Source: SQLite, Write-Ahead Logging; PRAGMA synchronous, secure_delete; VACUUM.
"""

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError, CuelightError, Overloaded, Unavailable, UserNotFound
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.connection import open_database, why_no_room
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.folder_lock import FolderLock

__all__ = ["DATABASE_NAME", "Pair", "Recorded", "Said", "Store", "attributes_of_text"]

DATABASE_NAME = "recommender.sqlite"

_log = logging.getLogger("cuelight.recommender")

_CACHE_FOR_MANY_KIB = 256 * 1024
"""Events come in no order of the indexes: where their pages do not fit, each is written and read again and again."""
_NEW_EVENT = "INSERT INTO events (id, user, item, value, time_s) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ALL = "SELECT user, item, value, time_s FROM events ORDER BY user, item, time_s, sequence"
_LATEST = "SELECT value, time_s FROM events WHERE user = ? AND item = ? ORDER BY time_s DESC, sequence DESC LIMIT 1"

Pair = tuple[int, int]
"""Places of a user and of an item."""

Said = tuple[float, float]
"""What a user has said of an item, as it stands: value, and time in seconds."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of some events: which were new, in their order, and how things stand with the pairs they are about.

    `new_users` and `new_items` are the places of ids that came with them.
    """

    kept: tuple[bool, ...]
    said: Mapping[Pair, Said | None]
    """None where nothing is said any more."""
    new_users: Mapping[str, int]
    new_items: Mapping[str, int]

    @property
    def new(self) -> int:
        """How many of the events were new."""
        return sum(self.kept)


class Store:
    """The open database and which id has which place in it. One thread owns it."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        """Open the folder, made if missing; end a compaction that was cut short.

        Opened read only it must be there, and another process may hold it and write to it: what is read is how things
        stood at the opening. Until it is closed that process cannot empty its write-ahead log.

        Raises: ConfigError when the folder is in use, unusable or from a newer Cuelight.
        """
        self.path = folder / DATABASE_NAME
        self._lock = None if read_only else _locked(folder)
        try:
            self._connection = open_database(self.path, read_only)
        except BaseException:
            self._unlock()
            raise
        self.users = dict(self._connection.execute("SELECT id, place FROM users"))
        """Places by id. Read only, as `items`."""
        self.items = dict(self._connection.execute("SELECT id, place FROM items"))
        if not read_only and self.compaction_due():
            self._compact_at_the_start()

    def close(self) -> None:
        """Close the database and let others have the folder."""
        self._connection.close()
        self._unlock()

    def record(self, events: Sequence[Event]) -> Recorded:
        """Keep the events that are not known yet; durable on return. They must have passed `check_event`.

        Users and items that are new get a place. Raises: Overloaded when the disk is full: then none is kept.
        """
        with self._transaction() as places:
            all_kept = []
            touched: set[Pair] = set()
            for event in events:
                user, item = places.user(event.user), places.item(event.item)
                row = (event.id, user, item, event.value, event.time_s)
                kept = self._connection.execute(_NEW_EVENT, row).rowcount
                all_kept.append(kept == 1)
                if kept:
                    touched.add((user, item))
            said = {pair: self._said(pair) for pair in touched}
        return Recorded(tuple(all_kept), said, places.new_users, places.new_items)

    def record_many(self, events: Iterable[Event]) -> int:
        """Keep events as `record` does, and return only how many were new: for imports.

        Best called with hundreds of thousands at once, for each transaction writes almost every page of the indexes.
        Raises: Overloaded as `record`.
        """
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_FOR_MANY_KIB}")
        # The places are our own and of the same transaction; SQLite would look each of them up again.
        self._connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with self._transaction() as places:
                rows = ((e.id, places.user(e.user), places.item(e.item), e.value, e.time_s) for e in events)
                new = self._connection.executemany(_NEW_EVENT, rows).rowcount
        finally:
            self._connection.execute("PRAGMA foreign_keys = ON")
        return new

    def upsert_items(self, items: Mapping[str, ItemAttributes]) -> Mapping[str, int]:
        """Set the attributes of items, all of them anew, and return the places of new ones; durable on return.

        Raises: Overloaded as `record`.
        """
        with self._transaction() as places:
            rows = [(_text_of(attributes), places.item(item)) for item, attributes in items.items()]
            self._connection.executemany("UPDATE items SET attributes = ? WHERE place = ?", rows)
        return places.new_items

    def delete_items(self, ids: Iterable[str]) -> frozenset[Pair]:
        """Delete items with all that was said of them, and return by whom; ids not known are passed over.

        An item's place stays taken: it is the same item again when it comes back.
        """
        with self._transaction():
            gone = [(self.items[item],) for item in ids if item in self.items]
            pairs = {(user, *place) for place in gone for (user,) in self._connection.execute(_USERS_OF_ITEM, place)}
            self._connection.executemany("DELETE FROM events WHERE item = ?", gone)
            self._connection.executemany("UPDATE items SET attributes = NULL WHERE place = ?", gone)
        return frozenset(pairs)

    def forget_users(self, ids: Iterable[str]) -> frozenset[int]:
        """Delete users with all they said, and return their places; ids not known are passed over.

        What SQLite left of them elsewhere in the file goes with `compact`, or at the next start if that never comes.
        """
        with self._transaction() as places:
            gone = {user: self.users[user] for user in ids if user in self.users}
            self._connection.executemany("DELETE FROM events WHERE user = ?", [(place,) for place in gone.values()])
            self._connection.executemany("DELETE FROM users WHERE place = ?", [(place,) for place in gone.values()])
            if gone:
                self._connection.execute("INSERT OR IGNORE INTO due VALUES ('compaction')")
            places.forgotten = frozenset(gone)
        return frozenset(gone.values())

    def compaction_due(self) -> bool:
        """Whether somebody was forgotten and `compact` has not ended since."""
        return self._connection.execute("SELECT 1 FROM due WHERE what = 'compaction'").fetchone() is not None

    def compact(self) -> None:
        """Rewrite the database without what was deleted, and empty the write-ahead log: no byte of it is left.

        Overwriting alone leaves copies that SQLite made when it moved rows between pages. Takes time in proportion to
        the whole database, and room for another one meanwhile. Raises: Unavailable when another reader keeps the log
        from being emptied, Overloaded when the disk is full; it stays due then.
        """
        try:
            self._checkpoint()
            self._connection.execute("VACUUM")
            self._checkpoint()
            self._connection.execute("DELETE FROM due WHERE what = 'compaction'")
        except sqlite3.OperationalError as error:
            if why := why_no_room(error):
                raise Overloaded(f"{self.path}: {why}; what was deleted is still in it, call again") from error
            raise

    def interactions(self) -> NDArray[np.float64]:
        """Return how things stand: (pairs, 4) of user, item, value and time in seconds; by user, then by item."""
        found = self._connection.execute(_ALL).fetchall()
        events = np.array(found, np.float64).reshape(-1, 4)  # a value taken back is NaN
        latest = np.ones(len(events), np.bool_)
        latest[:-1] = (events[1:, :2] != events[:-1, :2]).any(axis=1)
        return events[latest & ~np.isnan(events[:, 2])]

    def attributes(self) -> list[ItemAttributes | None]:
        """Return what is known of every item, by place; None where it was deleted, or never there."""
        known: list[ItemAttributes | None] = [None] * (max(self.items.values(), default=-1) + 1)
        for place, text in self._connection.execute("SELECT place, attributes FROM items"):
            known[place] = attributes_of_text(text)
        return known

    def items_with_events(self) -> frozenset[str]:
        """Return the ids of items that anything is stored about."""
        return frozenset(item for (item,) in self._connection.execute(_ITEMS_WITH_EVENTS))

    def export_user(self, user: str) -> list[Event]:
        """Return everything stored of a user, in the order it came. Raises: UserNotFound."""
        if user not in self.users:
            raise UserNotFound(f'user "{user}": nothing is stored')
        found = self._connection.execute(_EVENTS_OF_USER, (self.users[user],))
        return [Event(event, user, item, value, time_s) for event, item, value, time_s in found]

    def last_sequence(self) -> int:
        """Return the number of the last event that was recorded, forgotten ones included; 0 before the first."""
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return 0 if found is None else int(found[0])

    def count_events(self) -> int:
        """Return how many events are stored."""
        [count] = self._connection.execute("SELECT count(*) FROM events").fetchone()
        return int(count)

    def setting(self, name: str) -> float | None:
        """Return a number that was kept with the data, None where there is none."""
        found = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if found is None else float(found[0])

    def set_setting(self, name: str, value: float) -> None:
        """Keep a number with the data; durable on return."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def _compact_at_the_start(self) -> None:
        """A server that does not start helps nobody: what cannot be done now stays due."""
        try:
            self.compact()
        except CuelightError as error:
            _log.warning("somebody was forgotten, but not to the last byte yet: %s", error.message)

    def _said(self, pair: Pair) -> Said | None:
        value, time_s = self._connection.execute(_LATEST, pair).fetchone()
        return None if value is None else (value, time_s)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _checkpoint(self) -> None:
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise Unavailable(f"{self.path}: a reader keeps the write-ahead log; what was deleted is still in it")

    @contextmanager
    def _transaction(self) -> "Iterator[_Places]":
        """Commit at the end, or undo all of it; places given within count once it is committed."""
        places = _Places(self._connection, self.users, self.items)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield places
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and (why := why_no_room(error)):
                raise Overloaded(f"{self.path}: {why}; nothing of this was kept") from error
            raise
        self.users.update(places.new_users)
        self.items.update(places.new_items)
        for user in places.forgotten:
            del self.users[user]


_USERS_OF_ITEM = "SELECT DISTINCT user FROM events WHERE item = ?"
_ITEMS_WITH_EVENTS = "SELECT id FROM items WHERE EXISTS (SELECT 1 FROM events WHERE item = place)"
_EVENTS_OF_USER = """
    SELECT events.id, items.id, value, time_s FROM events JOIN items ON items.place = events.item
    WHERE user = ? ORDER BY sequence
"""


_NEW_USER = "INSERT INTO users (place, id) SELECT coalesce(max(place) + 1, 0), ? FROM users RETURNING place"
_NEW_ITEM = (
    "INSERT INTO items (place, id, attributes) SELECT coalesce(max(place) + 1, 0), ?, ? FROM items RETURNING place"
)


class _Places:
    """Places as they will be once a transaction is committed."""

    def __init__(self, connection: sqlite3.Connection, users: Mapping[str, int], items: Mapping[str, int]) -> None:
        self._connection = connection
        self._users = users
        self._items = items
        self.new_users: dict[str, int] = {}
        self.new_items: dict[str, int] = {}
        self.forgotten: frozenset[str] = frozenset()

    def user(self, user: str) -> int:
        place = self._users.get(user, self.new_users.get(user))
        if place is None:
            place = self.new_users[user] = self._inserted(_NEW_USER, (user,))
        return place

    def item(self, item: str) -> int:
        place = self._items.get(item, self.new_items.get(item))
        if place is None:
            place = self.new_items[item] = self._inserted(_NEW_ITEM, (item, _text_of(ItemAttributes())))
        return place

    def _inserted(self, statement: str, values: tuple[str, ...]) -> int:
        [(place,)] = self._connection.execute(statement, values).fetchall()
        return int(place)


def _locked(folder: Path) -> FolderLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make it: {error.strerror}") from error
    return FolderLock(folder)


def _text_of(attributes: ItemAttributes) -> str:
    return json.dumps(asdict(attributes))


def attributes_of_text(text: str | None) -> ItemAttributes | None:
    """Return attributes as the column `items.attributes` has them; None of an item that was deleted."""
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    return ItemAttributes(**{**fields, "tags": tuple(fields["tags"])})
