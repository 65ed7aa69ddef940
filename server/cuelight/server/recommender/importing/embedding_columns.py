"""Columns of lists of numbers as embeddings; what is no vector is named with its row."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.embeddings import Vector, check_space, check_vector
from cuelight.server.recommender.importing.file_table import FileTable

__all__ = ["embedding_columns"]


def embedding_columns(table: FileTable) -> Iterator[tuple[str, list[Vector | None]]]:
    """Yield the space and each row's vector, None where it has none, of the columns of lists of numbers.

    The column's name is the space. Raises: ConfigError where a vector cannot be one, or has another length than the
    first of its column.
    """
    import pyarrow  # noqa: PLC0415

    kinds = pyarrow.types
    for name in table.arrow.column_names:
        kind = table.arrow.column(name).type
        if not (kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)):
            continue
        if kinds.is_floating(kind.value_type) or kinds.is_integer(kind.value_type):
            yield name, _vectors(table, table.arrow.column(name), name)


def _vectors(table: FileTable, column: Any, space: str) -> list[Vector | None]:
    vectors: list[Vector | None] = []
    length = None
    for row, value in enumerate(column):
        if not value.is_valid:
            vectors.append(None)
            continue
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as that
            numbers = np.asarray(value.values.to_numpy(zero_copy_only=False), np.float32)  # a missing number is NaN
        wrong = _what_is_wrong(numbers, space, length)
        if wrong:
            table.refuse((row,), wrong)
        length = length or (None if wrong else len(numbers))
        vectors.append(None if wrong else numbers)
    return vectors


def _what_is_wrong(numbers: Vector, space: str, length: int | None) -> str:
    """Return what keeps numbers from being a vector of so many, nothing where nothing does."""
    where = f'embeddings: space "{space}"'
    try:
        check_space(space)
        check_vector(where, numbers)
    except InvalidRequest as error:
        return error.message
    if length is not None and len(numbers) != length:
        return f"{where}: expected {length} numbers as the first vector has, got {len(numbers)}"
    return ""
