"""`cuelight recommender import`: files into a data folder."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from cuelight.server.errors import ConfigError, InvalidRequest, Overloaded
from cuelight.server.recommender.importing.interactions import Interactions, check_times, read_interactions
from cuelight.server.recommender.importing.items import Items, read_items
from cuelight.server.recommender.liking import MIN_VALUE
from cuelight.server.recommender.progress import Advance, progress
from cuelight.server.recommender.quality.report_command import report_quality
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store

__all__ = ["import_files"]

_BATCH = 500_000
_SHOWN_EVERY = 10_000
_BYTES_PER_MIB = 1024 * 1024

Content = TypeVar("Content")


def import_files(
    data: Path, interactions: Path | None, items: Path | None, min_value: float | None, report: Path | None = None
) -> int:
    """Put files into a data folder, say what came of it and how good they are; return the exit code.

    `report` is where the page on their quality goes, else beside the database. Files are read before the folder is
    touched, and events of which one cannot be kept are refused before any is recorded.

    Raises: ConfigError when a file or the folder cannot be used. What was told before stays, and is not counted twice.
    """
    events = None if interactions is None else (interactions, _read(read_interactions, interactions))
    catalogue = None if items is None else (items, _read(read_items, items))
    store = Store(data)
    try:
        if min_value is not None:
            store.set_setting(MIN_VALUE, min_value)
        if catalogue is not None:
            _upsert(store, catalogue[1], items)
        if events or catalogue:
            report_quality(store, events, catalogue, report)
        if events is not None:
            path, told = events
            new = _record(store, told, path)
            print(f"interactions  {new} new, {len(told) - new} known already, from {path}")
        print(
            f"data folder   {data}: {len(store.users)} users, {len(store.items)} items, {store.count_events()} events"
        )
        return 0
    finally:
        store.close()


def _read(read: Callable[[Path], Content], path: Path) -> Content:
    size = f", {path.stat().st_size / _BYTES_PER_MIB:,.1f} MiB" if path.is_file() else ""
    with progress(f"reading {path.name}{size}"):
        return read(path)


def _upsert(store: Store, told: Items, path: Path | None) -> None:
    try:
        store.upsert_items(told.attributes, told.embeddings or None)
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error.message}") from error
    spaces = sorted({space for vectors in told.embeddings.values() for space in vectors})
    print(f"items         {len(told.attributes)} from {path}{', embeddings: ' if spaces else ''}{', '.join(spaces)}")


def _record(store: Store, told: Interactions, path: Path) -> int:
    """Record events and return how many of them are new."""
    check_times(told, path, time.time())
    new = 0
    with progress("recording interactions", len(told)) as advance:
        events = _counted(told.events(), advance)
        for _ in range(0, len(told), _BATCH):
            try:
                new += store.record_many(islice(events, _BATCH))
            except Overloaded as error:
                raise ConfigError(f"{error.message}; {new:,} events of {path} are kept, and count once") from error
    return new


def _counted(events: Iterator[Event], advance: Advance) -> Iterator[Event]:
    for number, event in enumerate(events, 1):
        yield event
        if not number % _SHOWN_EVERY:
            advance(_SHOWN_EVERY)
