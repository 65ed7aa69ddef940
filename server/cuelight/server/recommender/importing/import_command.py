"""`cuelight recommender import`: files into a data folder."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from cuelight.server.errors import ConfigError, InvalidRequest
from cuelight.server.recommender.importing.rows import read_events, read_items
from cuelight.server.recommender.liking import MIN_VALUE
from cuelight.server.recommender.store.events import Event, check_event
from cuelight.server.recommender.store.store import Store

__all__ = ["import_files"]

_BATCH = 10_000


def import_files(data: Path, interactions: Path | None, items: Path | None, min_value: float | None) -> int:
    """Put files into a data folder and say what came of it; return the exit code.

    Raises: ConfigError when a file or the folder cannot be used. What was told before stays, and is not counted twice.
    """
    store = Store(data)
    try:
        if min_value is not None:
            store.set_setting(MIN_VALUE, min_value)
        if items is not None:
            attributes = read_items(items)
            store.upsert_items(attributes)
            print(f"items         {len(attributes)} from {items}")
        if interactions is not None:
            told, new = _record(store, read_events(interactions), interactions)
            print(f"interactions  {new} new, {told - new} known already, from {interactions}")
        print(
            f"data folder   {data}: {len(store.users)} users, {len(store.items)} items, {store.count_events()} events"
        )
        return 0
    finally:
        store.close()


def _record(store: Store, events: Iterable[Event], path: Path) -> tuple[int, int]:
    """Return how many events the file tells of, and how many of them are new."""
    from rich.progress import Progress  # noqa: PLC0415

    told = new = 0
    now_s = time.time()
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("recording interactions", total=None)
            for batch in _batches(check_event(event, now_s) for event in events):
                new += store.record(batch).new
                told += len(batch)
                progress.update(task, completed=told)
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error.message}") from error
    return told, new


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(islice(events, _BATCH)):
        yield batch
