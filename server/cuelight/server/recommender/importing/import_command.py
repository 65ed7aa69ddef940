"""`cuelight recommender import`: files into a data folder."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from cuelight.server.errors import ConfigError, InvalidRequest
from cuelight.server.recommender.importing.interactions import Interactions, check_times, read_interactions
from cuelight.server.recommender.importing.items import Items, read_items
from cuelight.server.recommender.liking import MIN_VALUE
from cuelight.server.recommender.quality.report_command import report_quality
from cuelight.server.recommender.store.events import Event, check_event
from cuelight.server.recommender.store.store import Store

__all__ = ["import_files"]

_BATCH = 10_000


def import_files(
    data: Path, interactions: Path | None, items: Path | None, min_value: float | None, report: Path | None = None
) -> int:
    """Put files into a data folder, say what came of it and how good they are; return the exit code.

    `report` is where the page on their quality goes, else beside the database. Files are read before the folder is
    touched, and events of which one cannot be kept are refused before any is recorded.

    Raises: ConfigError when a file or the folder cannot be used. What was told before stays, and is not counted twice.
    """
    events = None if interactions is None else (interactions, read_interactions(interactions))
    catalogue = None if items is None else (items, read_items(items))
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


def _upsert(store: Store, told: Items, path: Path | None) -> None:
    try:
        store.upsert_items(told.attributes, told.embeddings)
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error.message}") from error
    spaces = sorted({space for vectors in told.embeddings.values() for space in vectors})
    print(f"items         {len(told.attributes)} from {path}{', embeddings: ' if spaces else ''}{', '.join(spaces)}")


def _record(store: Store, told: Interactions, path: Path) -> int:
    """Record events and return how many of them are new."""
    from rich.progress import Progress  # noqa: PLC0415

    new = 0
    now_s = time.time()
    check_times(told, path, now_s)
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("recording interactions", total=len(told))
            for batch in _batches(check_event(event, now_s) for event in told.events()):
                new += store.record(batch).new
                progress.update(task, advance=len(batch))
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error.message}") from error
    return new


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(islice(events, _BATCH)):
        yield batch
