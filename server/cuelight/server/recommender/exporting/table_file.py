"""A table written to a file in chunks: CSV or Parquet, by the ending of its name.

Columns are given as pyarrow types. CSV has no lists and maps, so a column of these is text there: JSON in a column of
the name with `_json` behind it, which `import` reads back.

    path.new      while it is written
    path          once it is whole
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import csv, parquet

from cuelight.server.errors import ConfigError

__all__ = ["TableFile", "check_table_path"]

_SUFFIXES = (".csv", ".parquet")
_JSON_SUFFIX = "_json"


def check_table_path(path: Path, overwrite: bool) -> None:
    """Raises: ConfigError when the name says no format, a file is there already, or there is no such folder."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: expected a name ending in {' or '.join(_SUFFIXES)}")
    if path.exists() and not (overwrite and path.is_file()):
        raise ConfigError(f"{path}: is there already; --force overwrites a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: no such folder: {path.parent}")


class TableFile:
    """A file that comes to be. Used as a context: left with an error, nothing is left of it."""

    def __init__(self, path: Path, schema: Any) -> None:
        """Begin the file. Raises: ConfigError when it cannot be written."""
        self._path = path
        self._beside = path.with_name(f"{path.name}.new")
        self._schema = schema
        is_csv = path.suffix == ".csv"
        self._written = _as_text(schema) if is_csv else schema
        self._writer: Any = None
        try:
            self._writer = (csv.CSVWriter if is_csv else parquet.ParquetWriter)(self._beside, self._written)
        except OSError as error:
            raise self._unwritten(error) from error

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Append rows, cells in the order of the schema. Raises: ConfigError when it cannot be written."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        if not columns:
            return
        cells = [
            column if field.type == written.type else [_json_of(cell, field.type) for cell in column]
            for column, field, written in zip(columns, self._schema, self._written, strict=True)
        ]
        arrays = [pyarrow.array(column, field.type) for column, field in zip(cells, self._written, strict=True)]
        try:
            self._writer.write_batch(pyarrow.record_batch(arrays, self._written))
        except OSError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> "TableFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._put_in_place()
        except OSError as error:
            raise self._unwritten(error) from error
        finally:
            self._beside.unlink(missing_ok=True)

    def _put_in_place(self) -> None:
        with self._beside.open("rb") as written:
            os.fsync(written.fileno())
        self._beside.replace(self._path)

    def _unwritten(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot write it: {error.strerror or error}")


def _as_text(schema: Any) -> Any:
    fields = [
        pyarrow.field(f"{field.name}{_JSON_SUFFIX}", pyarrow.string()) if pyarrow.types.is_nested(field.type) else field
        for field in schema
    ]
    return pyarrow.schema(fields)


def _json_of(cell: Any, kind: Any) -> str:
    return json.dumps(dict(cell) if pyarrow.types.is_map(kind) else list(cell), ensure_ascii=False)
