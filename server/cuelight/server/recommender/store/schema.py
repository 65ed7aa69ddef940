"""The database's tables, and how an older database becomes a newer one.

`MIGRATIONS[n]` leads from version n to n + 1, in one transaction with the new number; a database is always at one of
them. Never edit one that was released: add another.
"""

import sqlite3
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "migrate"]

APPLICATION_ID = 0x4375_654C
"""`CueL`, so that a database of something else is not mistaken for ours. Source: SQLite, PRAGMA application_id."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE users (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
        "CREATE TABLE items (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT)",
        """CREATE TABLE events (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            user INTEGER NOT NULL REFERENCES users (place),
            item INTEGER NOT NULL REFERENCES items (place),
            value REAL,
            time_s REAL NOT NULL
        )""",
        "CREATE INDEX events_by_user ON events (user, item, time_s)",
        "CREATE INDEX events_by_item ON events (item)",
        "CREATE TABLE due (what TEXT PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID",
    ),
    (
        "CREATE TABLE spaces (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """CREATE TABLE embeddings (
            space INTEGER NOT NULL REFERENCES spaces (number),
            item INTEGER NOT NULL REFERENCES items (place),
            vector BLOB NOT NULL,
            PRIMARY KEY (space, item)
        )""",
    ),
    (
        "CREATE TABLE experiments (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """CREATE TABLE variants (
            place INTEGER PRIMARY KEY,
            experiment INTEGER NOT NULL REFERENCES experiments (place),
            name TEXT NOT NULL,
            position INTEGER,
            share REAL,
            UNIQUE (experiment, name)
        )""",
        "CREATE TABLE subjects (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
        """CREATE TABLE exposures (
            subject INTEGER NOT NULL REFERENCES subjects (place),
            variant INTEGER NOT NULL REFERENCES variants (place),
            first_s REAL NOT NULL,
            shelves INTEGER NOT NULL,
            PRIMARY KEY (subject, variant)
        ) WITHOUT ROWID""",
        """CREATE TABLE shown (
            subject INTEGER NOT NULL REFERENCES subjects (place),
            experiment INTEGER NOT NULL REFERENCES experiments (place),
            item INTEGER NOT NULL REFERENCES items (place),
            first_s REAL NOT NULL,
            PRIMARY KEY (subject, experiment, item)
        ) WITHOUT ROWID""",
        "CREATE INDEX shown_by_item ON shown (item)",
    ),
    (
        "ALTER TABLE users ADD COLUMN came_after INTEGER NOT NULL DEFAULT 0",
        """CREATE TRIGGER users_came AFTER INSERT ON users BEGIN
            UPDATE users SET came_after = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
            WHERE place = new.place;
        END""",
        "CREATE TABLE forgettings (number INTEGER PRIMARY KEY AUTOINCREMENT, came_after INTEGER NOT NULL)",
    ),
)
"""`place` is the row or column of the matrix users x items, from 0 on; a forgotten user's may be given to another.
`attributes` is JSON, NULL for an item that was deleted. `value` is NULL for a withdrawal.
`vector` is little-endian float32, all of one space of one length.
`subjects` are users who have got a shelf of an experiment, whether or not anything else is known of them; `first_s` is
Unix time; `position` and `share` are NULL for variants that the configuration has no longer.
`due` names work that a crash must not lose; `settings` are what the data is to be read with.
`came_after` is the number of the last event before a user came: all of a user's, deleted ones too, have higher ones.
`forgettings` is read by `store/forgettings.py`."""


def migrate(connection: sqlite3.Connection, path: Path, read_only: bool = False) -> None:
    """Bring the database to the newest version, an empty one from nothing; one that is only read must be there already.

    Raises: ConfigError when a newer Cuelight made it, or something else did.
    """
    [application_id] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise ConfigError(f"{path}: not a database of Cuelight's recommender")
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{path}: made by a newer Cuelight: its schema is version {version}, this one knows up to {len(MIGRATIONS)}"
        )
    if read_only and version < len(MIGRATIONS):
        raise ConfigError(f"{path}: its schema is version {version}, serve or import with this Cuelight first")
    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
