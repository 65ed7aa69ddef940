"""From a table's columns to events and items."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.columns import column, read_table
from cuelight.server.recommender.store.events import Event

__all__ = ["read_events", "read_items"]

_TAG_SEPARATOR = "|"
_NO_GENRES = "(no genres listed)"
"""Source: MovieLens's README files since 2015."""


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file: columns user and item, and optionally value (else 1), time (else 0) and event id.

    An event without an id of its own is the same event when it is read again. Raises: ConfigError.
    """
    table = read_table(path)
    users, items = _needed(table, "user", path), _needed(table, "item", path)
    values = _numbers(table, "value", path) or [1.0] * len(users)
    times = _numbers(table, "time", path) or [0.0] * len(users)
    ids = column(table, "event")
    for row, (user, item, value, time) in enumerate(zip(users, items, values, times, strict=True)):
        event = f"import {user} {item} {time:.15g}" if ids is None else str(ids[row])
        yield Event(event, str(user), str(item), value, time)


def read_items(path: Path) -> dict[str, ItemAttributes]:
    """Return the items of a file: column item, and optionally title and tags, separated by "|".

    Other columns: one of only 0 and 1 is a tag of its name, any other of numbers is a number. Raises: ConfigError.
    """
    table = read_table(path)
    ids = _needed(table, "item", path)
    titles = column(table, "title") or [""] * len(ids)
    tags = column(table, "tags") or [""] * len(ids)
    flags, numbers = _flags_and_numbers(table)
    return {
        str(item): ItemAttributes(
            title=str(titles[row] or ""),
            tags=(*_split(tags[row]), *(name for name, values in flags.items() if values[row])),
            numbers={
                name: float(v[row]) for name, v in numbers.items() if v[row] is not None and math.isfinite(v[row])
            },
        )
        for row, item in enumerate(ids)
    }


def _needed(table: Any, what: str, path: Path) -> list[Any]:
    values = column(table, what)
    if values is None:
        raise ConfigError(f"{path}: expected a column for the {what}, got {', '.join(table.column_names)}")
    if None in values:
        raise ConfigError(f"{path}: row {values.index(None) + 1} has no {what}")
    return values


def _numbers(table: Any, what: str, path: Path) -> list[float] | None:
    values = column(table, what)
    for row, value in enumerate(values or ()):
        if not isinstance(value, int | float):
            raise ConfigError(f"{path}: row {row + 1}: {what}: expected a number, got {value!r}")
    return None if values is None else [float(value) for value in values]


def _split(tags: str | None) -> tuple[str, ...]:
    return tuple(tag for tag in (tags or "").split(_TAG_SEPARATOR) if tag and tag != _NO_GENRES)


def _flags_and_numbers(table: Any) -> tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[float]]]:
    """Return the columns of only 0 and 1, and the other ones of numbers; ids and empty columns are neither."""
    flags: dict[str, Sequence[int]] = {}
    numbers: dict[str, Sequence[float]] = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        kinds = {type(value) for value in values if value is not None}
        if name.lower().endswith("id") or not kinds or not kinds <= {int, float, bool}:
            continue
        if kinds <= {int, bool} and set(values) <= {0, 1}:
            flags[name] = values
        else:
            numbers[name] = values
    return flags, numbers
