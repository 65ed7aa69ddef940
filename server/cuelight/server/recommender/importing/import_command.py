"""`cuelight recommender import`: files into a data folder, all of them or nothing.

    read the files -> look at them, print, write the page -> refuse, or one transaction: min_value, items, events

Whatever stops it on the way leaves the folder's data as they were.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from cuelight.server.errors import ConfigError, InvalidRequest, Overloaded
from cuelight.server.recommender.importing.interactions import Interactions, check_times, read_interactions
from cuelight.server.recommender.importing.items import Items, read_items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.liking import LEAST_LIKED, MIN_VALUE, min_value_of
from cuelight.server.recommender.progress import Advance, progress
from cuelight.server.recommender.quality.report_command import Known, check_page, known_to, report_quality
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import DATABASE_NAME, Store

__all__ = ["import_files"]

_SHOWN_EVERY = 10_000
_BYTES_PER_MIB = 1024 * 1024

Content = TypeVar("Content")


def import_files(
    data: Path, interactions: Source | None, items: Source | None, min_value: float | None, report: Path | None = None
) -> int:
    """Put files into a data folder, say what came of it and how good they are; return the exit code.

    `report` is where the page on their quality goes, else beside the database. Events that were told before are not
    counted twice.

    Raises: ConfigError when a file, the page or the folder cannot be used; nothing has changed in the folder then, but
    for a page that says what was refused.
    """
    if min_value is not None and not math.isfinite(min_value):
        raise ConfigError(f"--min-value: got {min_value}, expected a finite number")
    check_page(report)
    read_events = partial(read_interactions, now_s=time.time())
    events = None if interactions is None else (interactions.path, _read(read_events, interactions))
    catalogue = None if items is None else (items.path, _read(read_items, items))
    store = Store(data) if (data / DATABASE_NAME).exists() else None
    try:
        if events or catalogue:
            report_quality(data, _known(store, min_value), events, catalogue, report)
        if events is not None:
            check_times(events[1], time.time())
        store = store or Store(data)
        _take_in(store, events, catalogue, min_value)
        print(
            f"data folder   {data}: {len(store.users)} users, {len(store.items)} items, {store.count_events()} events"
        )
        return 0
    finally:
        if store is not None:
            store.close()


def _read(read: Callable[[Source], Content], source: Source) -> Content:
    path = source.path
    size = f", {path.stat().st_size / _BYTES_PER_MIB:,.1f} MiB" if path.is_file() else ""
    with progress(f"reading {path.name}{size}"):
        return read(source)


def _known(store: Store | None, min_value: float | None) -> Known:
    """Return what the folder knows, to be looked at with the `min_value` that shall be."""
    kept = LEAST_LIKED if store is None else min_value_of(store)
    return known_to(store, kept if min_value is None else min_value)


def _take_in(
    store: Store,
    events: tuple[Path, Interactions] | None,
    catalogue: tuple[Path, Items] | None,
    min_value: float | None,
) -> None:
    path, told = events or (None, None)
    item_path, items = catalogue or (None, None)
    settings = {} if min_value is None else {MIN_VALUE: min_value}
    try:
        with progress("recording interactions" if told else "recording items", len(told) if told else None) as advance:
            new = store.take_in(
                _counted(told.events(), advance) if told is not None else (),
                items.attributes if items is not None else None,
                items.embeddings or None if items is not None else None,
                settings,
            )
    except InvalidRequest as error:
        raise ConfigError(f"{item_path}: {error.message}") from error
    except Overloaded as error:
        raise ConfigError(error.message) from error
    if items is not None:
        spaces = sorted({space for vectors in items.embeddings.values() for space in vectors})
        found = f"{', embeddings: ' if spaces else ''}{', '.join(spaces)}"
        years = f"; year of {items.years_in_titles} from their titles" if items.years_in_titles else ""
        print(f"items         {len(items.attributes)} from {item_path}{found}{years}")
    if told is not None:
        print(f"interactions  {new} new, {len(told) - new} known already, from {path}")


def _counted(events: Iterator[Event], advance: Advance) -> Iterator[Event]:
    for number, event in enumerate(events, 1):
        yield event
        if not number % _SHOWN_EVERY:
            advance(_SHOWN_EVERY)
