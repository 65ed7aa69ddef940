"""Text files of rows: what separates their cells, whether a header names them, and in which line a row stands."""

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["TextFile", "is_parquet", "places_of", "read_text_file", "where"]

_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_WITHOUT_HEADER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    r"u\.data|u[1-5ab]\.(base|test)": ("\t", _RATINGS),
    r"u\.item": ("|", ("item_id", "title", "release_date", "video_release_date", "url", *_GENRES)),
    r"ratings\.dat|r[1-5ab]\.(train|test)": ("::", _RATINGS),
    r"movies\.dat": ("::", ("item_id", "title", "genres")),
}
"""Delimiter and columns, by a pattern of the name; `u1.base` and `r1.train` are one split's part to learn from.
Source: the README files of GroupLens's MovieLens 100K, 1M and 10M."""

_UNIT_SEPARATOR = "\x1f"
"""Stands for `::`, as parsers take one character alone; ASCII's own character for this purpose."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text, and how to take it apart."""

    data: bytes
    """UTF-8, with `delimiter` between cells."""
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    """With a header comes the quoting of CSV; MovieLens's files without one have none."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line a row starts in, from 1 on, and its cells; the header is a row, an empty line is none."""
        text = io.StringIO(self.data.decode(), newline="")
        reader = csv.reader(
            text, delimiter=self.delimiter, quoting=csv.QUOTE_MINIMAL if self.has_header else csv.QUOTE_NONE
        )
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def is_parquet(path: Path) -> bool:
    """Tell by its name whether a file is Parquet: *.parquet, *.parquet.brotli."""
    return ".parquet" in path.name


def read_text_file(path: Path) -> TextFile:
    """Return a file's text. Raises: ConfigError when it is empty or its encoding broken, OSError."""
    data = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    if not data.strip():
        raise ConfigError(f"{path}: expected rows, the file is empty")
    layout = next((found for pattern, found in _WITHOUT_HEADER.items() if re.fullmatch(pattern, path.name)), None)
    if layout is None:
        data = _as_utf_8(data, path)
        delimiter = "\t" if path.suffix == ".tsv" else ","
        return TextFile(data, delimiter, _header(data, delimiter), True)
    delimiter, names = layout
    data = _from_movielens(data)
    if len(delimiter) > 1:
        data, delimiter = data.replace(delimiter.encode(), _UNIT_SEPARATOR.encode()), _UNIT_SEPARATOR
    return TextFile(data, delimiter, names, False)


def where(path: Path, row: int) -> str:
    """Return where a row of data (from 0 on) is: the file and the line, or the row of a file that has no lines."""
    return f"{path}, {places_of(path, (row,))[row]}"


def places_of(path: Path, rows: Collection[int]) -> dict[int, str]:
    """Return `line 17`, or `row 17` of a file that has no lines, for rows of data (from 0 on)."""
    if is_parquet(path):
        return {row: f"row {row + 1:,}" for row in rows}
    wanted, text = set(rows), read_text_file(path)
    numbered = enumerate(text.rows(), -1 if text.has_header else 0)
    places: dict[int, str] = {}
    while len(places) < len(wanted):
        row, (line, _) = next(numbered)
        if row in wanted:
            places[row] = f"line {line:,}"
    return places


def _header(data: bytes, delimiter: str) -> tuple[str, ...]:
    [first_line] = re.findall(rb"\A[\r\n]*([^\r\n]*)", data)
    return tuple(next(csv.reader([first_line.decode()], delimiter=delimiter)))


def _as_utf_8(data: bytes, path: Path) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line:,}: expected UTF-8, got the byte 0x{data[error.start]:02x}") from error
    return data


def _from_movielens(data: bytes) -> bytes:
    """Return UTF-8: GroupLens wrote Latin-1 before 2010, in which every byte is a letter."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1").encode()
    return data
