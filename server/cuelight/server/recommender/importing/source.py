"""A file to import, and what was said of how to read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A path with everything that reading it anew needs."""

    path: Path
    delimiter: str | None = None
    """Between the cells of a text file; None for what its header has."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the file calls columns, by our word for them (`user`, `item`, ...); the others are known by usual names."""
    most_bad_rows: float = 0
    """So many rows that cannot be read are left out at most; 0 refuses the file at the first, infinity is no limit."""

    def __str__(self) -> str:
        return str(self.path)
