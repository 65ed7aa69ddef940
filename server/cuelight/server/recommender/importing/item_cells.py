"""The cells of a file of items that are more than a text or a number: lists of tags, named numbers, availability.

A list or a map of a Parquet file is taken as it is; text files have them as JSON in a column ending in `_json`, as
`export` writes it.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow

from cuelight.server.recommender.importing.file_table import FileTable
from cuelight.server.recommender.importing.truths import truths

__all__ = ["availability", "named_numbers", "tags", "texts"]

_TAG_SEPARATOR = "|"
_NO_GENRES = "(no genres listed)"
"""Source: MovieLens's README files since 2015."""


def texts(table: FileTable, what: str) -> list[str]:
    """Return a column's texts without space around them, empty ones where there is none."""
    found = table.column(what)
    return [""] * table.arrow.num_rows if found is None else [str(text or "").strip() for text in found.to_pylist()]


def tags(table: FileTable) -> list[tuple[str, ...]]:
    """Return each row's tags: a list, or a text with `|` between them. Raises: ConfigError naming the line."""
    found = _structured(table, "tags", "tag list")
    if found is None:
        return [_split(text) for text in texts(table, "tags")]
    return [_checked_tags(cell, row, table) for row, cell in enumerate(_unpacked(found, table))]


def named_numbers(table: FileTable) -> list[Mapping[str, float]]:
    """Return each row's map from names to numbers, empty ones where there is none. Raises: ConfigError."""
    found = _structured(table, "numbers", "named numbers")
    if found is None:
        return [{}] * table.arrow.num_rows
    return [_checked_numbers(cell, row, table) for row, cell in enumerate(_unpacked(found, table))]


def availability(table: FileTable) -> list[bool]:
    """Return whether each row's item may be recommended; where nothing is said it may. Raises: ConfigError."""
    found = table.column("available")
    if found is None:
        return [True] * table.arrow.num_rows
    return [cell is None or cell for cell in truths(table, found, "available")]


def _structured(table: FileTable, what: str, as_json: str) -> Any:
    """Return the column that has lists or maps, or their JSON; None where the table has neither."""
    found = table.column(what)
    return found if found is not None and pyarrow.types.is_nested(found.type) else table.column(as_json)


def _split(text: str) -> tuple[str, ...]:
    return tuple(tag for tag in text.split(_TAG_SEPARATOR) if tag and tag != _NO_GENRES)


def _unpacked(found: Any, table: FileTable) -> list[Any]:
    """Return what the cells hold, None where there is nothing."""
    if pyarrow.types.is_nested(found.type):
        return list(found.to_pylist())
    cells: list[Any] = []
    for row, text in enumerate(found.to_pylist()):
        try:
            cells.append(json.loads(text) if text else None)
        except ValueError as error:
            table.refuse((row,), f"expected JSON, got {text!r}: {error}")
            cells.append(None)
    return cells


def _checked_tags(cell: Any, row: int, table: FileTable) -> tuple[str, ...]:
    found = [] if cell is None else cell
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        table.refuse((row,), f"tags: expected a list of texts, got {cell!r}")
        return ()
    return tuple(dict.fromkeys(found))


def _checked_numbers(cell: Any, row: int, table: FileTable) -> Mapping[str, float]:
    try:
        found = {str(name): float(value) for name, value in dict(cell or {}).items()}
    except (TypeError, ValueError):
        found = {"": math.nan}
    if not all(map(math.isfinite, found.values())):
        table.refuse((row,), f"numbers: expected finite numbers by name, got {cell!r}")
        return {}
    return found
