"""The durable truth: users, items and events in one SQLite database, in a folder that one process holds.

    record, upsert_items, ...   one transaction each; when they return, it is on the disk (WAL, synchronous=FULL)
    forget_users, compact       delete, overwrite, rewrite: no byte of the id is left in the folder
    kill -9, power cut          what returned is there, what did not is there wholly or not at all

SQLite calls block, for an fsync at least: never on the event loop. One thread owns a Store.

Source: SQLite, Write-Ahead Logging; PRAGMA synchronous, secure_delete; VACUUM.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError, CuelightError, Overloaded, Unavailable, UserNotFound
from cuelight.server.recommender.embeddings import SpaceVectors, Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.attribute_text import attributes_of_text
from cuelight.server.recommender.store.connection import open_database, why_no_room
from cuelight.server.recommender.store.damage import DATABASE_NAME, Damaged, readable
from cuelight.server.recommender.store.embedding_table import EmbeddingTable
from cuelight.server.recommender.store.event_rows import EventRows, Pair, Said
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.exposures import Exposed, ExposureRows, VariantKey
from cuelight.server.recommender.store.folder_lock import FolderLock
from cuelight.server.recommender.store.forgettings import count_forgettings, forgotten_since, note_forgetting
from cuelight.server.recommender.store.new_places import NewPlaces
from cuelight.server.recommender.store.number_names import NumberNames
from cuelight.server.recommender.store.outcomes import ALL, Outcome, count_exposures, count_outcomes
from cuelight.server.recommender.store.same_file import SameFile

__all__ = ["DATABASE_NAME", "Pair", "Recorded", "Said", "Store"]

_log = logging.getLogger("cuelight.recommender")


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

        Raises: ConfigError when the folder is in use, unusable, damaged or from a newer Cuelight.
        """
        self.path = folder / DATABASE_NAME
        self._lock = None if read_only else _locked(folder)
        try:
            self._connection = open_database(self.path, read_only)
        except BaseException:
            self._unlock()
            raise
        try:
            with readable(self.path):
                self._read_places()
                if not read_only and self.compaction_due():
                    self._compact_at_the_start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and let others have the folder."""
        self._connection.close()
        self._unlock()

    def record(self, events: Sequence[Event]) -> Recorded:
        """Keep the events that are not known yet; durable on return. They must have passed `check_event`.

        Users and items that are new get a place. Raises: Overloaded when the disk is full: then none is kept.
        """
        with self._transaction() as places:
            kept = self._events.unknown([event.id for event in events])
            said = self._events.add([places.row(event) for event, new in zip(events, kept, strict=True) if new])
        return Recorded(kept, said, places.new_users, places.new_items)

    def take_in(
        self,
        events: Iterable[Event] = (),
        items: Mapping[str, ItemAttributes] | None = None,
        embeddings: Mapping[str, Mapping[str, Vector]] | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> int:
        """Keep all that an import brings, or nothing of it, and return how many of the events were new.

        Events as `record` does, items and embeddings as `upsert_items`, settings as `set_setting`; one transaction,
        for each writes almost every page of the indexes. Raises: InvalidRequest as `upsert_items`, Overloaded as
        `record`, and what `events` raises.
        """
        with self._events.many(), self._transaction() as places:
            for name, value in (settings or {}).items():
                self._set(name, value)
            if items is not None:
                self._upsert(places, items, embeddings)
            return self._events.add_many(places.row(event) for event in events)

    def upsert_items(
        self, items: Mapping[str, ItemAttributes], embeddings: Mapping[str, Mapping[str, Vector]] | None = None
    ) -> Mapping[str, int]:
        """Set the attributes and embeddings (by item and space) of items, all of them anew; durable on return.

        Without `embeddings` those that are there stay. Returns the places of new ones. Raises: InvalidRequest when a
        vector is not as long as its space's, or there are too many names of numbers or spaces, Overloaded as `record`;
        nothing of it is kept then.
        """
        with self._transaction() as places:
            self._upsert(places, items, embeddings)
        return places.new_items

    def delete_items(self, ids: Iterable[str]) -> frozenset[Pair]:
        """Delete items with all that was said of them, and return by whom; ids not known are passed over.

        An item's place stays taken: it is the same item again when it comes back.
        """
        with self._transaction():
            gone = [(self.items[item],) for item in ids if item in self.items]
            pairs = self._events.delete_items(gone)
            self._connection.executemany("UPDATE items SET attributes = NULL WHERE place = ?", gone)
            self.exposures.delete_items(gone)
            self._embeddings.delete(place for (place,) in gone)
        return frozenset(pairs)

    def forget_users(self, ids: Iterable[str]) -> frozenset[int]:
        """Delete users with all they said, and return their places; ids not known are passed over.

        What SQLite left of them elsewhere in the file goes with `compact`, or at the next start if that never comes.
        """
        with self._transaction() as places:
            known = [user for user in ids if self.knows(user)]
            gone = {user: self.users[user] for user in known if user in self.users}
            note_forgetting(self._connection, gone.values())
            self.exposures.forget(known)
            self._connection.executemany("DELETE FROM events WHERE user = ?", [(place,) for place in gone.values()])
            self._connection.executemany("DELETE FROM users WHERE place = ?", [(place,) for place in gone.values()])
            if known:
                self._connection.execute("INSERT OR IGNORE INTO due VALUES ('compaction')")
            places.forgotten = frozenset(gone)
        return frozenset(gone.values())

    def knows(self, user: str) -> bool:
        """Whether anything is stored of a user."""
        return user in self.users or self.exposures.is_subject(user)

    def declare_experiments(self, shares: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the configuration's experiments: shares by variant, by experiment; durable on return."""
        with self._transaction():
            self.exposures.declare(shares)

    def record_exposures(self, exposed: Sequence[Exposed]) -> list[bool]:
        """Keep who got which shelves; durable on return. Return for each whether it is the first one to its variant.

        Raises: Overloaded when the disk is full: then none is kept.
        """
        with self._transaction():
            return self.exposures.add(exposed)

    def count_exposures(self) -> dict[VariantKey, Outcome]:
        """Return users and shelves of every variant there ever was."""
        return count_exposures(self._connection)

    def count_outcomes(self, min_value: float, which: str = ALL, *ids: str) -> dict[VariantKey, Outcome]:
        """Return what came of variants, over all pairs of user and item or some; see `outcomes.count_outcomes`."""
        return count_outcomes(self._connection, min_value, which, *ids)

    def told_since(self, user: str, time_s: float) -> list[str]:
        """Return items of which a user told at a time or later."""
        return self._events.told_since(user, time_s)

    def forgettings(self) -> int:
        """Return how often somebody was forgotten."""
        return count_forgettings(self._connection)

    def forgotten_since(self, forgettings: int, last_event: int) -> bool:
        """Return whether somebody who came before event `last_event` was forgotten after the first so many times."""
        return forgotten_since(self._connection, forgettings, last_event)

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
        """Return how things stand: (pairs, 4) of user, item, value and time in seconds; by user, then by item.

        Raises: Damaged when they are of users or items that are not there.
        """
        said = self._events.standing()
        for what, places, known in (("user", said[:, 0], self.users), ("item", said[:, 1], self.items)):
            if len(places) and not 0 <= places.min() <= places.max() <= max(known.values(), default=-1):
                raise Damaged(f"events: expected known users and items, got one of no {what}")
        return said

    def attributes(self) -> list[ItemAttributes | None]:
        """Return what is known of every item, by place; None where it was deleted, or never there."""
        known: list[ItemAttributes | None] = [None] * (max(self.items.values(), default=-1) + 1)
        for place, text in self._connection.execute("SELECT place, attributes FROM items"):
            known[place] = attributes_of_text(text)
        self._number_names.saw(known)
        return known

    def embeddings(self) -> dict[str, SpaceVectors]:
        """Return the vectors of every item that has some, by space."""
        return self._embeddings.load()

    def embeddings_of(self, item: str) -> dict[str, Vector]:
        """Return an item's vectors by space; none where the item is not known."""
        place = self.items.get(item)
        return {} if place is None else self._embeddings.of_item(place)

    def items_with_events(self) -> frozenset[str]:
        """Return the ids of items that anything is stored about."""
        return self._events.items()

    def export_user(self, user: str) -> list[Event]:
        """Return every event of a user, in the order it came. Raises: UserNotFound when nothing is stored of them."""
        if not self.knows(user):
            raise UserNotFound(f'user "{user}": nothing is stored')
        return self._events.of_user(user, self.users.get(user))

    def last_sequence(self) -> int:
        """Return the number of the last event that was recorded, forgotten ones included; 0 before the first."""
        return self._events.last_sequence()

    def count_events(self) -> int:
        """Return how many events are stored."""
        return self._events.count()

    def setting(self, name: str) -> float | None:
        """Return a number that was kept with the data, None where there is none."""
        found = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if found is None else float(found[0])

    def set_setting(self, name: str, value: float) -> None:
        """Keep a number with the data; durable on return."""
        with self._transaction():
            self._set(name, value)

    def _set(self, name: str, value: float) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def _upsert(
        self,
        places: NewPlaces,
        items: Mapping[str, ItemAttributes],
        embeddings: Mapping[str, Mapping[str, Vector]] | None,
    ) -> None:
        rows = [places.described(item, attributes) for item, attributes in items.items()]
        self._connection.executemany("UPDATE items SET attributes = ? WHERE place = ?", rows)
        if embeddings is not None:
            self._embeddings.replace((places.item(item), item, embeddings.get(item, {})) for item in items)

    def _read_places(self) -> None:
        self._held = [SameFile(path) for path in (self.path, self._lock.path)] if self._lock else []
        self._events = EventRows(self._connection)
        self._embeddings = EmbeddingTable(self._connection)
        self._number_names = NumberNames(self._known_items)
        self.users = dict(self._connection.execute("SELECT id, place FROM users"))
        """Places by id. Read only, as `items`."""
        self.exposures = ExposureRows(self._connection)
        """To read from; what changes them is here."""
        self.items = dict(self._connection.execute("SELECT id, place FROM items"))

    def _known_items(self) -> Iterator[ItemAttributes | None]:
        return (attributes_of_text(text) for (text,) in self._connection.execute("SELECT attributes FROM items"))

    def _compact_at_the_start(self) -> None:
        """A server that does not start helps nobody: what cannot be done now stays due."""
        try:
            self.compact()
        except CuelightError as error:
            _log.warning("somebody was forgotten, but not to the last byte yet: %s", error.message)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _checkpoint(self) -> None:
        busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise Unavailable(f"{self.path}: a reader keeps the write-ahead log; what was deleted is still in it")

    @contextmanager
    def _transaction(self) -> Iterator[NewPlaces]:
        """Commit at the end, or undo all of it; places given within count once it is committed.

        Raises: DataFolderLost when the folder's files are not those that are open any more.
        """
        for file in self._held:
            file.check()
        places = NewPlaces(self._connection, self.users, self.items, self._number_names)
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
        if places.new_number_names:
            self._number_names.add(places.new_number_names)
        for user in places.forgotten:
            del self.users[user]


def _locked(folder: Path) -> FolderLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make it: {error.strerror}") from error
    return FolderLock(folder)
