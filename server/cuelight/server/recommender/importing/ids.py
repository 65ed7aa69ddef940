"""A column as ids: each one once, and which row has which."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.file_table import FileTable
from cuelight.server.recommender.store.events import MAX_ID_BYTES

__all__ = ["ids_by_place"]


def ids_by_place(table: FileTable, found: Any, what: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the place of each row's id: (rows,), below 0 where none is, and the ids by place.

    Raises: ConfigError naming the line where one is missing, empty or too long.
    """
    chunks = found.dictionary_encode().unify_dictionaries().chunks
    none = np.zeros(0, np.int64)
    places = np.concatenate([none, *(np.asarray(chunk.indices.fill_null(-1)) for chunk in chunks)]).astype(np.int64)
    values = chunks[0].dictionary.to_pylist() if chunks else []
    missing = [-1, *(place for place, value in enumerate(values) if isinstance(value, float) and math.isnan(value))]
    table.refuse(np.flatnonzero(np.isin(places, missing)), f"it has no {what}")
    ids = tuple(_text_of(value) for value in values)
    sizes = np.array([*map(_bytes_of, ids), 1], np.int64)  # the last one is for places below 0
    table.refuse(
        np.flatnonzero((sizes[places] < 1) | (sizes[places] > MAX_ID_BYTES)),
        lambda row: f"{what} id: expected 1 to {MAX_ID_BYTES} bytes of UTF-8, got {sizes[places[row]]} bytes",
    )
    return places, ids


def _text_of(value: object) -> str:
    """Return an id as text: pandas makes 7.0 of 7 in a column with gaps."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _bytes_of(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode())
