"""A column as numbers; what is no number is named with its line."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.text_file import where

__all__ = ["numbers", "seconds"]

_US_PER_S = 1e6


def numbers(found: Any, what: str, path: Path, needed: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return a column's numbers: (rows,).

    Raises: ConfigError where one is missing, not finite or none at all; with `needed` (rows,) only where that is true.
    """
    return _checked(found, path, f"{what}: expected a finite number", needed)


def seconds(found: Any, path: Path) -> NDArray[np.float64]:
    """Return a column's times in seconds of Unix time; dates and times of day are in UTC if not said otherwise.

    Raises: ConfigError where one is missing or no time.
    """
    import pyarrow  # noqa: PLC0415

    if pyarrow.types.is_date(found.type):
        found = found.cast(pyarrow.timestamp("s"))
    expected = "time: expected seconds of Unix time, or a date as 2026-01-31T12:00:00Z"
    if not pyarrow.types.is_timestamp(found.type):
        return _checked(found, path, expected)
    micros = found.cast(pyarrow.timestamp("us", found.type.tz), safe=False).cast(pyarrow.int64())
    return _checked(micros, path, expected) / _US_PER_S


def _checked(found: Any, path: Path, expected: str, needed: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    import pyarrow  # noqa: PLC0415

    kind = found.type
    if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind):
        values = np.asarray(found.cast(pyarrow.float64(), safe=False).to_numpy(), np.float64)  # missing ones are NaN
    else:
        values = np.array([_number_of(value) for value in found.to_pylist()], np.float64)
    odd = np.flatnonzero(~np.isfinite(values) & (True if needed is None else needed))
    if len(odd):
        got = found[int(odd[0])].as_py()
        shown = "nothing, or NaN" if got is None else repr(got) if isinstance(got, str) else str(got)
        raise ConfigError(f"{where(path, int(odd[0]))}: {expected}, got {shown}")
    return values


def _number_of(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
