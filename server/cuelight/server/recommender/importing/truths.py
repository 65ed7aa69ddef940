"""A column as truths."""

from typing import Any

from cuelight.server.recommender.importing.file_table import FileTable

__all__ = ["truths"]

_WORDS = {"true": True, "false": False, "1": True, "0": False}
"""As text, in any case: where one cell is none of them the parser leaves all of the column as text."""


def truths(table: FileTable, found: Any, what: str) -> list[bool | None]:
    """Return each row's truth, None where nothing is said; 1 and 0 are truths. Raises: ConfigError with the line."""
    cells = found.to_pylist()
    read = [_WORDS.get(cell.strip().lower(), cell) if isinstance(cell, str) else cell for cell in cells]
    odd = [row for row, cell in enumerate(read) if cell not in {None, True, False}]
    table.refuse(odd, lambda row: f"{what}: expected true or false, got {cells[row]!r}")
    return [None if cell is None else bool(cell) for cell in read]
