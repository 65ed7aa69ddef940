"""Files of interactions and items as columns of a table, whatever their format calls them.

*.parquet, *.parquet.brotli     columns by name
*.csv, *.tsv, *.dat, u.data     text; MovieLens's files without a header are known by their names
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.text_file import TextFile, is_parquet, read_text_file

__all__ = ["column", "needed_column", "read_table"]

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "userid", "user"),
    "item": ("item_id", "itemid", "item", "movie_id", "movieid", "track_id", "trackid"),
    "value": ("value", "rating", "score"),
    "time": ("time_s", "timestamp", "time"),
    "event": ("event_id", "eventid"),
    "withdrawn": ("withdrawn",),
    "title": ("title", "movie_title", "name"),
    "tags": ("tags", "genres", "genre"),
    "tag list": ("tags_json",),
    "numbers": ("numbers",),
    "named numbers": ("numbers_json",),
    "available": ("available",),
}
"""What we call a column, and what files call it, in lower case. JSON stands in for lists and maps."""

_JSON = ("tag list", "named numbers")
_AS_WRITTEN = frozenset(name for what in ("user", "item", "event", "title", "tags", *_JSON) for name in _NAMES[what])
"""Text even where it looks like a number: `007` and `7` are two ids."""


def read_table(path: Path) -> Any:
    """Return the file as a pyarrow.Table of one row at least. Raises: ConfigError when it cannot be read."""
    try:
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError('import needs pyarrow: pip install "cuelight[recommender]"') from error
    try:
        table = parquet.read_table(path) if is_parquet(path) else _parsed(read_text_file(path), path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"{path}: cannot read it: {error}") from error
    if not table.num_rows:
        raise ConfigError(f"{path}: expected rows, the file has columns alone")
    return table


def column(table: Any, what: str) -> Any:
    """Return a column, a pyarrow.ChunkedArray, by our word for it; None where the table has no such column."""
    found = [name for name in table.column_names if name.strip().lower() in _NAMES[what]]
    return table.column(table.column_names.index(found[0])) if found else None


def needed_column(table: Any, what: str, path: Path) -> Any:
    """Return a column as `column` does. Raises: ConfigError where the table has no such column."""
    found = column(table, what)
    if found is None:
        line = "" if is_parquet(path) else ", line 1"
        raise ConfigError(
            f"{path}{line}: expected a column for the {what}, got {', '.join(table.column_names)}; "
            f"it may be called {', '.join(_NAMES[what])}"
        )
    return found


def _parsed(text: TextFile, path: Path) -> Any:
    import pyarrow  # noqa: PLC0415
    from pyarrow import csv as arrow_csv  # noqa: PLC0415

    as_written = {name: pyarrow.string() for name in text.names if name.strip().lower() in _AS_WRITTEN}
    try:
        return arrow_csv.read_csv(
            io.BytesIO(text.data),
            read_options=arrow_csv.ReadOptions(column_names=None if text.has_header else text.names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=text.delimiter, quote_char='"' if text.has_header else False, newlines_in_values=True
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=as_written, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise ConfigError(_odd_row(text, path) or f"{path}: cannot read it: {error}") from error


def _odd_row(text: TextFile, path: Path) -> str | None:
    """Say which row has another number of cells than there are columns, if any has."""
    last_line = 0
    try:
        for line, cells in text.rows():
            if len(cells) != len(text.names):
                return f"{path}, line {line:,}: cannot read it: expected {len(text.names)} cells, got {len(cells)}"
            last_line = line
    except csv.Error as error:
        return f"{path}: cannot read it after line {last_line:,}: {error}"
    return None
