"""The way to the database, the same for the process that holds the folder and for those that only read."""

import sqlite3
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.store.damage import check_place, readable
from cuelight.server.recommender.store.schema import migrate

__all__ = ["open_database", "why_no_room"]

_BUSY_S = 10.0
_CACHE_KIB = 65_536
"""An index of a million events does not fit SQLite's own 2 MiB, and every event reads what the one before dropped."""
_CHECKPOINT_PAGES = 4000
"""16 MiB of log: pages that many events change are copied into the database less often than by the default of 1000."""
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "foreign_keys = ON",
    f"cache_size = -{_CACHE_KIB}",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
)


def open_database(path: Path, read_only: bool) -> sqlite3.Connection:
    """Open the database, made if missing, and bring it to this version; read only it must be there already.

    Read only, everything is read as it stood now, whatever another process writes, until the connection is closed.

    Raises: ConfigError when it cannot be used or is from a newer Cuelight, and rather than to begin anew where one was.
    """
    check_place(path)
    if read_only and not path.is_file():
        raise ConfigError(f"{path}: no such database; cuelight recommender import makes one")
    where = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    with readable(path):
        # Made on one thread and used on another; one at a time all the same.
        connection = sqlite3.connect(where, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
    try:
        with readable(path):
            for pragma in () if read_only else _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            migrate(connection, path, read_only)
            if read_only:
                connection.execute("BEGIN")
                connection.execute("SELECT 1 FROM sqlite_schema").fetchone()  # from here on it is one state
    except BaseException:
        connection.close()
        raise
    return connection


def why_no_room(error: sqlite3.OperationalError) -> str | None:
    """Return why no more can be written; None where the error is another one.

    A quota and a limit on the size of files come as failed writes, a full disk as what it is.
    Source: SQLite, Result and error codes: SQLITE_FULL, SQLITE_IOERR_WRITE.
    """
    match error.sqlite_errorcode:
        case sqlite3.SQLITE_FULL:
            return "the disk is full"
        case sqlite3.SQLITE_IOERR_WRITE:
            return "the disk takes no more (a quota, a limit on the size of files, or it is broken)"
        case _:
            return None
