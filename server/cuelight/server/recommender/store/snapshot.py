"""One state of a data folder, to read or to copy while another process serves from it and writes to it.

A snapshot sees what was committed when it was taken, however long it is read, and holds no writer up. Until it is
closed the writer cannot empty its write-ahead log: the log grows, and a user who is forgotten meanwhile is gone from
every answer but not from every byte (`ForgetUsers` ends with UNAVAILABLE and is to be called again).

Source: SQLite, Write-Ahead Logging, section 2.2; Online Backup API (a source that is in a read transaction is copied as
it is in that transaction, and the copy is never begun anew).
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.embeddings import Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.attribute_text import attributes_of_text
from cuelight.server.recommender.store.connection import open_database
from cuelight.server.recommender.store.embedding_table import EmbeddingTable
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import DATABASE_NAME

__all__ = ["Snapshot"]

_PAGES_AT_ONCE = 2048
_ROWS_AT_ONCE = 10_000

_TOLD = """
    SELECT events.id, users.id, items.id, value, time_s FROM events
    JOIN users ON users.place = events.user JOIN items ON items.place = events.item
"""
_STANDING = """
    WHERE value IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM events AS later WHERE later.user = events.user AND later.item = events.item
        AND (later.time_s, later.sequence) > (events.time_s, events.sequence)
    )
"""
_COUNT = "SELECT count(*) FROM events"
_SPACES = "SELECT name FROM spaces WHERE EXISTS (SELECT 1 FROM embeddings WHERE space = number) ORDER BY name"
_KNOWN_ITEMS = "SELECT place, id, attributes FROM items WHERE attributes IS NOT NULL ORDER BY place"


class Snapshot:
    """A database as it was at the opening. One thread owns it."""

    def __init__(self, folder: Path) -> None:
        """Take the snapshot. Raises: ConfigError when there is no such database, or one of another version."""
        self.path = folder / DATABASE_NAME
        self._connection = open_database(self.path, read_only=True)
        self._embeddings = EmbeddingTable(self._connection)
        self.version = self._last_sequence()
        """The number of the last event in it."""

    def close(self) -> None:
        """Let the writer empty its log."""
        self._connection.close()

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count_events(self) -> int:
        """Return how many events there are, those that no longer count included."""
        [count] = self._connection.execute(_COUNT).fetchone()
        return int(count)

    def events(self, all_events: bool) -> Iterator[Event]:
        """Yield what counts of what was told, in the order it came; with `all_events` also what no longer does."""
        which = "" if all_events else _STANDING
        found = self._connection.execute(f"{_TOLD} {which} ORDER BY events.sequence")
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield from (Event(*row) for row in rows)

    def spaces(self) -> list[str]:
        """Return the spaces that any item has an embedding in, by name."""
        return [space for (space,) in self._connection.execute(_SPACES)]

    def items(self, with_embeddings: bool) -> Iterator[tuple[str, ItemAttributes, Mapping[str, Vector]]]:
        """Yield items that are not deleted, in the order they came to be known, and their vectors by space if asked."""
        for place, item, text in self._connection.execute(_KNOWN_ITEMS):
            attributes = attributes_of_text(text)
            assert attributes is not None, "deleted items are left out"
            yield item, attributes, self._embeddings.of_item(place) if with_embeddings else {}

    def setting(self, name: str) -> float | None:
        """Return a number that was kept with the data, None where there is none."""
        found = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if found is None else float(found[0])

    def pages(self) -> tuple[int, int]:
        """Return how many pages the database has, and the bytes of one."""
        [count] = self._connection.execute("PRAGMA page_count").fetchone()
        [size_bytes] = self._connection.execute("PRAGMA page_size").fetchone()
        return int(count), int(size_bytes)

    def copy_to(self, target: Path, copied: Callable[[int], None] = lambda pages: None) -> None:
        """Write the database into a new file, on the disk on return; `copied` is told how many pages more are done.

        Raises: ConfigError when the file cannot be written; what there is of it stays.
        """
        done = 0

        def tell(_: int, left: int, total: int) -> None:
            nonlocal done
            copied(total - left - done)
            done = total - left

        try:
            with closing(sqlite3.connect(target, isolation_level=None)) as copy:
                self._connection.backup(copy, pages=_PAGES_AT_ONCE, progress=tell, sleep=0)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, with nothing beside it
        except sqlite3.OperationalError as error:
            raise ConfigError(f"{target}: cannot write the copy: {error}") from error

    def _last_sequence(self) -> int:
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return 0 if found is None else int(found[0])
