"""A column as numbers; what is no number is named with its line."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.file_bytes import is_parquet
from cuelight.server.recommender.importing.file_table import FileTable

__all__ = ["numbers", "seconds"]

_US_PER_S = 1e6


def numbers(table: FileTable, found: Any, what: str, needed: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return a column's numbers: (rows,).

    Raises: ConfigError where one is missing, not finite or none at all; with `needed` (rows,) only where that is true.
    """
    return _checked(table, found, f"{what}: expected a finite number", _number_of, needed)


def seconds(table: FileTable, found: Any) -> NDArray[np.float64]:
    """Return a column's times in seconds of Unix time; dates and times of day are in UTC if not said otherwise.

    Raises: ConfigError where one is missing or no time.
    """
    import pyarrow  # noqa: PLC0415

    if pyarrow.types.is_date(found.type):
        found = found.cast(pyarrow.timestamp("s"))
    expected = "time: expected seconds of Unix time, or a date as 2026-01-31T12:00:00Z"
    if not pyarrow.types.is_timestamp(found.type):
        return _checked(table, found, expected, _seconds_of)
    micros = found.cast(pyarrow.timestamp("us", found.type.tz), safe=False).cast(pyarrow.int64())
    return _checked(table, micros, expected, _seconds_of) / _US_PER_S


def _checked(
    table: FileTable,
    found: Any,
    expected: str,
    number_of: Callable[[str], float],
    needed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    import pyarrow  # noqa: PLC0415

    kind = found.type
    if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind):
        values = np.asarray(found.cast(pyarrow.float64(), safe=False).to_numpy(), np.float64)  # missing ones are NaN
    else:
        either = _with_comma(number_of) if table.decimal == "," else number_of
        values = np.array([either(str(value)) for value in found.to_pylist()], np.float64)

    def wrong(row: int) -> str:
        got = found[row].as_py()
        shown = "nothing, or NaN" if got is None else repr(got) if isinstance(got, str) else str(got)
        comma = isinstance(got, str) and math.isfinite(number_of(got.replace(",", ".")))
        hint = "; write a decimal point, or separate cells by semicolons" if comma else ""
        return f"{expected}, got {shown}{'' if is_parquet(table.source.path) else hint}"

    table.refuse(np.flatnonzero(~np.isfinite(values) & (True if needed is None else needed)), wrong)
    return values


def _number_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _with_comma(number_of: Callable[[str], float]) -> Callable[[str], float]:
    """Of a column in which not everything is a number, so that the parser has left all of it as text."""

    def read(text: str) -> float:
        value = number_of(text)
        return number_of(text.replace(",", ".")) if math.isnan(value) else value

    return read


def _seconds_of(text: str) -> float:
    """Return the time where it is one, in a column in which not everything is."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
