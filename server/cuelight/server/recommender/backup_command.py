"""`cuelight recommender backup`: a copy of a data folder's database, whole and proven, while a server serves from it.

    recommender.sqlite.new    while it is copied and checked
    recommender.sqlite        once SQLite has found nothing wrong with it and it is on the disk

Models are fitted from the database at every start, so nothing else of the folder is needed: `serve --data` on the
folder of a backup is the restore.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from time import perf_counter

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.progress import progress
from cuelight.server.recommender.store.snapshot import Snapshot
from cuelight.server.recommender.store.store import DATABASE_NAME

__all__ = ["back_up"]

_BYTES_PER_MIB = 1024 * 1024


def back_up(data: Path, to: Path) -> int:
    """Copy the database as it is now into a file, or a folder that can be served from; return the exit code.

    `to` is a folder if it is one already or its name has no ending; it is made if missing. Everything that was
    acknowledged before is in the copy. Raises: ConfigError when the database cannot be read, the copy is there already,
    has no room, cannot be written or is not whole; nothing is left of it then.
    """
    started_s = perf_counter()
    target = _target(to)
    beside = target.with_name(f"{target.name}.new")
    with Snapshot(data) as snapshot:
        _make_folder(target.parent)
        count, page_bytes = snapshot.pages()
        _check_room(target.parent, count * page_bytes)
        try:
            beside.unlink(missing_ok=True)
            with progress("copying", count) as advance:
                snapshot.copy_to(beside, advance)
            events = _checked(beside, snapshot)
            _put_in_place(beside, target)
        except OSError as error:
            raise ConfigError(f"{target}: cannot write the copy: {error.strerror}") from error
        finally:
            for leftover in (beside, beside.with_name(f"{beside.name}-journal")):
                leftover.unlink(missing_ok=True)
    size_mib = target.stat().st_size / _BYTES_PER_MIB
    print(f"backup        {target}: {events} events, the last is number {snapshot.version}, {size_mib:.1f} MiB, whole")
    print(f"took          {perf_counter() - started_s:.1f} s")
    return 0


def _target(to: Path) -> Path:
    target = to / DATABASE_NAME if to.is_dir() or not to.suffix else to
    if target.exists():
        raise ConfigError(f"{target}: is there already; a backup overwrites nothing")
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make it: {error.strerror}") from error


def _check_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        needed, free = needed_bytes / _BYTES_PER_MIB, free_bytes / _BYTES_PER_MIB
        raise ConfigError(f"{folder}: the copy needs {needed:,.1f} MiB, {free:,.1f} MiB are free")


def _checked(copy: Path, snapshot: Snapshot) -> int:
    """Return how many events the copy has, when SQLite finds it whole. Raises: ConfigError."""
    with progress("checking the copy"), closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        try:
            found = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        if found != ["ok"]:
            raise ConfigError(f"{snapshot.path}: it is damaged, so is the copy: {'; '.join(found)}")
        [events] = connection.execute("SELECT count(*) FROM events").fetchone()
    assert events == snapshot.count_events(), "a copy of one state has its events"
    return int(events)


def _put_in_place(copy: Path, target: Path) -> None:
    """Name the copy, without ever overwriting a file that came meanwhile, so that the name too is on the disk."""
    os.link(copy, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
