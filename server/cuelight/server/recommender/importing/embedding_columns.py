"""Columns of lists of numbers as embeddings; what is no vector is named with its row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cuelight.server.errors import ConfigError, InvalidRequest
from cuelight.server.recommender.embeddings import Vector, check_space, check_vector
from cuelight.server.recommender.importing.text_file import where

__all__ = ["embedding_columns"]


def embedding_columns(table: Any, path: Path) -> Iterator[tuple[str, list[Vector | None]]]:
    """Yield the space and each row's vector, None where it has none, of the columns of lists of numbers.

    The column's name is the space. Raises: ConfigError where a vector cannot be one, or has another length than the
    first of its column.
    """
    import pyarrow  # noqa: PLC0415

    kinds = pyarrow.types
    for name in table.column_names:
        kind = table.column(name).type
        if not (kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)):
            continue
        if kinds.is_floating(kind.value_type) or kinds.is_integer(kind.value_type):
            yield name, _vectors(table.column(name), name, path)


def _vectors(column: Any, space: str, path: Path) -> list[Vector | None]:
    vectors: list[Vector | None] = []
    length = None
    for row, value in enumerate(column):
        if not value.is_valid:
            vectors.append(None)
            continue
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as that
            numbers = np.asarray(value.values.to_numpy(zero_copy_only=False), np.float32)  # a missing number is NaN
        try:
            vector = check_vector(f'embeddings: space "{check_space(space)}"', numbers)
        except InvalidRequest as error:
            raise ConfigError(f"{where(path, row)}: {error.message}") from error
        length = length or len(vector)
        if len(vector) != length:
            raise ConfigError(
                f'{where(path, row)}: embeddings: space "{space}": expected {length} numbers as the first vector has, '
                f"got {len(vector)}"
            )
        vectors.append(vector)
    return vectors
