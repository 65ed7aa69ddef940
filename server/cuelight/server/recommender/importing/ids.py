"""A column as ids: each one once, and which row has which."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError, InvalidRequest
from cuelight.server.recommender.importing.text_file import where
from cuelight.server.recommender.store.events import check_id

__all__ = ["ids_by_place"]


def ids_by_place(found: Any, what: str, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the place of each row's id: (rows,), and the ids by place.

    Raises: ConfigError naming the line where one is missing, empty or too long.
    """
    chunks = found.dictionary_encode().unify_dictionaries().chunks
    places = np.concatenate([np.asarray(chunk.indices.fill_null(-1)) for chunk in chunks]).astype(np.int64)
    values = chunks[0].dictionary.to_pylist()
    _refuse_missing(places, values, what, path)
    ids = tuple(_text_of(value) for value in values)
    for place, name in enumerate(ids):
        try:
            check_id(f"{what} id", name)
        except InvalidRequest as error:
            raise ConfigError(f"{where(path, int(np.argmax(places == place)))}: {error.message}") from error
    return places, ids


def _refuse_missing(places: NDArray[np.int64], values: list[Any], what: str, path: Path) -> None:
    """A column of floats has NaN where there is no id."""
    none = [-1, *(place for place, value in enumerate(values) if isinstance(value, float) and math.isnan(value))]
    missing = np.flatnonzero(np.isin(places, none))
    if len(missing):
        raise ConfigError(f"{where(path, int(missing[0]))}: it has no {what}")


def _text_of(value: object) -> str:
    """Return an id as text: pandas makes 7.0 of 7 in a column with gaps."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
