"""What is said of a database that cannot be read: which file, why, and what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["DATABASE_NAME", "Damaged", "check_place", "readable", "what_to_do"]

DATABASE_NAME = "recommender.sqlite"

_NOT_DAMAGED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM})
_PRIMARY_CODE = 0xFF
"""Of an extended result code the last byte is the one it extends. Source: SQLite, Result and error codes."""


class Damaged(sqlite3.DatabaseError):
    """Something in the database that SQLite cannot know to be wrong."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Read a database in the body. Raises: ConfigError in place of the errors of SQLite, and for what is damaged."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & _PRIMARY_CODE
        if code in _NOT_DAMAGED:
            raise ConfigError(f"{path}: {error}") from error
        raise ConfigError(f"{path}: cannot be read: {error}; {what_to_do(path)}") from error


def what_to_do(path: Path) -> str:
    """Return what helps."""
    return f"restore it from a backup, without {path.name}-wal and {path.name}-shm beside it"


def check_place(path: Path) -> None:
    """Look at what is in a database's place, before SQLite takes it for an empty one and begins anew.

    Raises: ConfigError for a folder, for a file of 0 bytes, which none is that was ever served from, and for a
    write-ahead log without its database.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: expected the database's file, found a folder")
    if path.exists() and not path.stat().st_size:
        raise ConfigError(
            f"{path}: expected a database, found a file of 0 bytes; {what_to_do(path)}, or delete it to begin with "
            "nothing"
        )
    log = path.with_name(f"{path.name}-wal")
    if not path.exists() and log.exists() and log.stat().st_size:
        raise ConfigError(
            f"{path}: missing, and its write-ahead log is there; {what_to_do(path)}, or delete the log to begin with "
            "nothing"
        )
