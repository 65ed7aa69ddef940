"""The year that MovieLens writes behind each title and nowhere else."""

import re
from collections.abc import Collection, Sequence

from cuelight.server.recommender.importing.file_bytes import bare_name
from cuelight.server.recommender.importing.source import Source

__all__ = ["YEAR", "title_years"]

YEAR = "year"
"""The number it becomes."""

_FILES = re.compile(r"u\.item|movies\.dat|MovieLens100k_items\..*")
"""Source: the README files of MovieLens 100K, 1M and 10M; the last is the wheel's name for `u.item`."""
_COLUMNS = frozenset({"movieid", "title", "genres"})
"""Of `movies.csv` since 2015."""
_IN_PARENTHESES = re.compile(r"\((\d{4})\)")


def title_years(source: Source, columns: Collection[str], titles: Sequence[str]) -> list[float | None]:
    """Return the year in each title of a file of MovieLens's: the last four digits in parentheses; else None."""
    names = {name.strip().lower() for name in columns}
    if not (_FILES.fullmatch(bare_name(source.path)) or names >= _COLUMNS) or YEAR in names:
        return [None] * len(titles)
    found = (_IN_PARENTHESES.findall(title) for title in titles)
    return [float(years[-1]) if years else None for years in found]
