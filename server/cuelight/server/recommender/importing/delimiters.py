"""What stands between the cells of a text file, and before the decimals of its numbers."""

import csv
import re
from collections.abc import Set
from pathlib import Path

__all__ = ["decimal_mark", "find_delimiter"]

_CANDIDATES = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(rb'(?:^|[;|\t])"?[+-]?\d+,\d+"?(?=[;|\t\r\n]|\Z)', re.MULTILINE)


def find_delimiter(header: str, known: Set[str], name: str) -> str:
    """Return what makes most column names that we know out of a header, and else most columns.

    `known` are in lower case; where nothing makes a difference it is the comma, in a file called *.tsv the tab.
    """
    usual_first = sorted(_CANDIDATES, key=lambda candidate: candidate != "\t") if _is_tsv(name) else _CANDIDATES

    def made(delimiter: str) -> tuple[int, int]:
        names = [cell.strip().lower() for cell in next(csv.reader([header], delimiter=delimiter), [])]
        return sum(name in known for name in names), len(names)

    return max(usual_first, key=made)


def decimal_mark(data: bytes, delimiter: str) -> str:
    """Return the comma where one stands in some cell between digits, and does not separate cells; else the point."""
    return "," if delimiter != "," and _DECIMAL_COMMA.search(data) else "."


def _is_tsv(name: str) -> bool:
    return Path(name).suffix.lower() == ".tsv"
