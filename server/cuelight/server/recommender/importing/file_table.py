"""A file as columns, whatever its format calls them, and what becomes of rows that cannot be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.column_names import COLUMN_NAMES
from cuelight.server.recommender.importing.file_bytes import is_parquet
from cuelight.server.recommender.importing.row_places import RowPlaces
from cuelight.server.recommender.importing.source import Source

__all__ = ["FileTable", "LeftOut"]

_SHOWN = 5
_KEPT = 1000
"""Reasons, of which the first few are shown: what is told row by row is not kept for millions of them."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a file that cannot be read, and were left out."""

    count: int
    total: int
    """Rows of the file, these included."""
    first: tuple[str, ...]
    """Where the first few are and what is wrong with them, naming no user."""


class FileTable:
    """The columns of a pyarrow.Table, found by our words for them.

    What a reader cannot make sense of it brings to `refuse`: that raises, or where the source allows some bad rows
    notes them, and the reader goes on with anything in their place. `kept` says in the end which rows are good.
    """

    def __init__(
        self,
        source: Source,
        arrow: Any,
        places: RowPlaces,
        lost: Sequence[tuple[int, int, str]] = (),
        decimal: str = ".",
    ) -> None:
        """`lost` are rows of the file that did not make it into the table: number, line and what is wrong with it."""
        self.source = source
        self.arrow = arrow
        self.decimal = decimal
        self._places = places
        self._lost = tuple(lost)
        self._bad = np.zeros(arrow.num_rows, np.bool_)
        self._reasons: dict[int, str] = {}

    def column(self, what: str) -> Any:
        """Return a column, a pyarrow.ChunkedArray; None where the table has no such column.

        Raises: ConfigError where the source names one that is not there.
        """
        named = self.source.columns.get(what)
        names = COLUMN_NAMES[what] if named is None else (named.strip().lower(),)
        found = [name for name in self.arrow.column_names if name.strip().lower() in names]
        if not found and named is not None:
            raise ConfigError(
                f'{self._start()}: expected a column "{named}" for the {what}, as it was named, got {self._all_names()}'
            )
        return self.arrow.column(self.arrow.column_names.index(found[0])) if found else None

    def needed_column(self, what: str) -> Any:
        """Return a column as `column` does. Raises: ConfigError where the table has no such column."""
        found = self.column(what)
        if found is None:
            raise ConfigError(
                f"{self._start()}: expected a column for the {what}, got {self._all_names()}; "
                f"it may be called {', '.join(COLUMN_NAMES[what])}, or be named on the command line"
            )
        return found

    def refuse(self, rows: Sequence[int] | NDArray[np.int64], wrong: str | Callable[[int], str]) -> None:
        """Take notice of rows that cannot be read, if any. Raises: ConfigError naming the first, unless some may be."""
        if not len(rows):
            return
        if not self.source.most_bad_rows:
            first = int(rows[0])
            raise ConfigError(f"{self._places.where(first)}: {wrong if isinstance(wrong, str) else wrong(first)}")
        for row in (int(row) for row in rows[:_SHOWN] if not self._bad[row] and len(self._reasons) < _KEPT):
            self._reasons[row] = wrong if isinstance(wrong, str) else wrong(row)
        self._bad[np.asarray(rows, np.int64)] = True

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which rows of the table are good: (rows,)."""
        return ~self._bad

    @property
    def places(self) -> RowPlaces:
        """Where the rows that are kept stand in the file."""
        return self._places.only(self.kept) if self._bad.any() else self._places

    def left_out(self) -> LeftOut | None:
        """Return what was left out, None for nothing. Raises: ConfigError when that is more than may be, or all."""
        count = int(self._bad.sum()) + len(self._lost)
        if not count:
            return None
        found = LeftOut(count, self.arrow.num_rows + len(self._lost), self._first())
        shown = "; ".join(found.first)
        if count > self.source.most_bad_rows:
            most = f"{self.source.most_bad_rows:,.0f} may be left out"
            raise ConfigError(f"{self.source}: {count:,} rows cannot be read, {most}: {shown}")
        if count == found.total:
            raise ConfigError(f"{self.source}: none of {count:,} rows can be read: {shown}")
        return found

    def _first(self) -> tuple[str, ...]:
        words = self._places.of(self._reasons)
        rows = self._places.rows
        noted = [
            (row if rows is None else int(rows[row]), f"{words[row]}: {why}") for row, why in self._reasons.items()
        ]
        noted += [(number, f"line {line:,}: {why}") for number, line, why in self._lost]
        return tuple(text for _, text in sorted(noted)[:_SHOWN])

    def _start(self) -> str:
        return f"{self.source}{'' if is_parquet(self.source.path) else ', line 1'}"

    def _all_names(self) -> str:
        return ", ".join(self.arrow.column_names)
