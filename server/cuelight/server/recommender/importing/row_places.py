"""Where the rows of a table stand in the file they came from, in words."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.file_bytes import is_parquet
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.importing.text_file import read_text_file

__all__ = ["RowPlaces"]


@dataclass(frozen=True, slots=True, eq=False)
class RowPlaces:
    """Finds lines by reading the file anew: they are asked for where something is wrong, and few at a time."""

    source: Source
    rows: NDArray[np.int64] | None = None
    """Which row of the file each row of the table is, from 0 on; None where it is the same."""

    def where(self, row: int) -> str:
        """Return the file and the line of a row, or its number in a file that has no lines."""
        return f"{self.source}, {self.of((row,))[row]}"

    def of(self, rows: Collection[int]) -> dict[int, str]:
        """Return `line 17`, or `row 17` of a file that has no lines, by row of the table."""
        in_file = {row: row if self.rows is None else int(self.rows[row]) for row in rows}
        if is_parquet(self.source.path):
            return {row: f"row {number + 1:,}" for row, number in in_file.items()}
        wanted, text = set(in_file.values()), read_text_file(self.source)
        numbered = enumerate(text.rows(), -1 if text.has_header else 0)
        lines: dict[int, str] = {}
        while len(lines) < len(wanted):
            number, (line, _) = next(numbered)
            if number in wanted:
                lines[number] = f"line {line:,}"
        return {row: lines[number] for row, number in in_file.items()}

    def only(self, kept: NDArray[np.bool_]) -> "RowPlaces":
        """Return the places of the rows that are kept: (rows,)."""
        rows = np.arange(len(kept)) if self.rows is None else self.rows
        return RowPlaces(self.source, rows[kept])
