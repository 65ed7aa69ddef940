"""Files of interactions and items as columns of a table.

*.parquet, *.parquet.brotli     columns by name
*.csv, *.tsv, *.dat, u.data     text; MovieLens's files without a header are known by their names
"""

import csv
import io
from typing import Any

import numpy as np

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.column_names import known_names
from cuelight.server.recommender.importing.file_bytes import is_parquet, read_bytes
from cuelight.server.recommender.importing.file_table import FileTable
from cuelight.server.recommender.importing.row_places import RowPlaces
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.importing.text_file import TextFile, read_text_file

__all__ = ["read_table"]

_AS_WRITTEN = ("user", "item", "event", "title", "tags", "tag list", "named numbers")
"""Text even where it looks like a number: `007` and `7` are two ids."""


def read_table(source: Source) -> FileTable:
    """Return the file as a table of one row at least. Raises: ConfigError when it cannot be read."""
    try:
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError('import needs pyarrow: pip install "cuelight[recommender]"') from error
    try:
        if is_parquet(source.path):
            packed = source.path.name.endswith(".gz")
            arrow = parquet.read_table(pyarrow.BufferReader(read_bytes(source.path)) if packed else source.path)
            table = FileTable(source, arrow, RowPlaces(source))
        else:
            table = _parsed(read_text_file(source), source)
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"{source}: cannot read it: {error}") from error
    if not table.arrow.num_rows and table.left_out() is None:
        raise ConfigError(f"{source}: expected rows, the file has columns alone")
    return table


def _parsed(text: TextFile, source: Source) -> FileTable:
    import pyarrow  # noqa: PLC0415
    from pyarrow import csv as arrow_csv  # noqa: PLC0415

    texts = known_names(source.columns, *_AS_WRITTEN)
    as_written = {name: pyarrow.string() for name in text.names if name.strip().lower() in texts}
    passed_over: list[Any] = []

    def pass_over(row: Any) -> str:
        passed_over.append(row)
        return "skip"

    try:
        arrow = arrow_csv.read_csv(
            io.BytesIO(text.data),
            read_options=arrow_csv.ReadOptions(column_names=None if text.has_header else text.names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=text.delimiter,
                quote_char='"' if text.has_header else False,
                newlines_in_values=True,
                invalid_row_handler=pass_over if source.most_bad_rows else None,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=as_written,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                decimal_point=text.decimal,
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise ConfigError(_odd_row(text, source) or f"{source}: cannot read it: {error}") from error
    if passed_over:
        return _without_odd_rows(text, source, arrow)
    return FileTable(source, arrow, RowPlaces(source), decimal=text.decimal)


def _odd_row(text: TextFile, source: Source) -> str | None:
    """Say which row has another number of cells than there are columns, if any has."""
    last_line = 0
    try:
        for line, cells in text.rows():
            if len(cells) != len(text.names):
                return f"{source}, line {line:,}: {_odd_cells(text, cells)}"
            last_line = line
    except csv.Error as error:
        return f"{source}: cannot read it after line {last_line:,}: {error}"
    return None


def _odd_cells(text: TextFile, cells: list[str]) -> str:
    said = f"cannot read it: expected {len(text.names)} cells, got {len(cells)}"
    more = len(cells) > len(text.names) and text.delimiter == ","
    return f"{said}; a decimal comma, or a comma in a text without quotes?" if more else said


def _without_odd_rows(text: TextFile, source: Source, arrow: Any) -> FileTable:
    """Return the table that was read past rows with too many or too few cells, with the rows it consists of."""
    kept, lost = [], []
    for number, (line, cells) in enumerate(text.rows(), -1 if text.has_header else 0):
        if number >= 0 and len(cells) == len(text.names):
            kept.append(number)
        elif number >= 0:
            lost.append((number, line, _odd_cells(text, cells)))
    if len(kept) != arrow.num_rows:
        raise ConfigError(f"{source}: cannot tell where its rows end; are quotes missing?")
    return FileTable(source, arrow, RowPlaces(source, np.array(kept, np.int64)), lost, text.decimal)
