"""The cells of a file of items that are more than a text or a number: lists of tags, named numbers, availability.

A list or a map of a Parquet file is taken as it is; text files have them as JSON in a column ending in `_json`, as
`export` writes it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.columns import column
from cuelight.server.recommender.importing.text_file import where

__all__ = ["availability", "named_numbers", "tags", "texts"]

_TAG_SEPARATOR = "|"
_NO_GENRES = "(no genres listed)"
"""Source: MovieLens's README files since 2015."""


def texts(table: Any, what: str) -> list[str]:
    """Return a column's texts without space around them, empty ones where there is none."""
    found = column(table, what)
    return [""] * table.num_rows if found is None else [str(text or "").strip() for text in found.to_pylist()]


def tags(table: Any, path: Path) -> list[tuple[str, ...]]:
    """Return each row's tags: a list, or a text with `|` between them. Raises: ConfigError naming the line."""
    found = _structured(table, "tags", "tag list")
    if found is None:
        return [_split(text) for text in texts(table, "tags")]
    return [_checked_tags(cell, row, path) for row, cell in enumerate(_unpacked(found, path))]


def named_numbers(table: Any, path: Path) -> list[Mapping[str, float]]:
    """Return each row's map from names to numbers, empty ones where there is none. Raises: ConfigError."""
    found = _structured(table, "numbers", "named numbers")
    if found is None:
        return [{}] * table.num_rows
    return [_checked_numbers(cell, row, path) for row, cell in enumerate(_unpacked(found, path))]


def availability(table: Any, path: Path) -> list[bool]:
    """Return whether each row's item may be recommended; where nothing is said it may. Raises: ConfigError."""
    found = column(table, "available")
    if found is None:
        return [True] * table.num_rows
    cells = found.to_pylist()
    for row, cell in enumerate(cells):
        if cell not in {None, True, False}:  # 1 and 0 are
            raise ConfigError(f"{where(path, row)}: available: expected true or false, got {cell!r}")
    return [cell is None or bool(cell) for cell in cells]


def _structured(table: Any, what: str, as_json: str) -> Any:
    """Return the column that has lists or maps, or their JSON; None where the table has neither."""
    found = column(table, what)
    return found if found is not None and pyarrow.types.is_nested(found.type) else column(table, as_json)


def _split(text: str) -> tuple[str, ...]:
    return tuple(tag for tag in text.split(_TAG_SEPARATOR) if tag and tag != _NO_GENRES)


def _unpacked(found: Any, path: Path) -> list[Any]:
    """Return what the cells hold, None where there is nothing."""
    if pyarrow.types.is_nested(found.type):
        return list(found.to_pylist())
    cells: list[Any] = []
    for row, text in enumerate(found.to_pylist()):
        try:
            cells.append(json.loads(text) if text else None)
        except ValueError as error:
            raise ConfigError(f"{where(path, row)}: expected JSON, got {text!r}: {error}") from error
    return cells


def _checked_tags(cell: Any, row: int, path: Path) -> tuple[str, ...]:
    found = [] if cell is None else cell
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        raise ConfigError(f"{where(path, row)}: tags: expected a list of texts, got {cell!r}")
    return tuple(dict.fromkeys(found))


def _checked_numbers(cell: Any, row: int, path: Path) -> Mapping[str, float]:
    try:
        found = {str(name): float(value) for name, value in dict(cell or {}).items()}
    except (TypeError, ValueError):
        found = {"": math.nan}
    if not all(map(math.isfinite, found.values())):
        raise ConfigError(f"{where(path, row)}: numbers: expected finite numbers by name, got {cell!r}")
    return found
