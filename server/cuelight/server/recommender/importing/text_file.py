"""Text files of rows: what separates their cells, and whether a header names them."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.column_names import known_names
from cuelight.server.recommender.importing.delimiters import decimal_mark, find_delimiter
from cuelight.server.recommender.importing.file_bytes import bare_name, read_bytes
from cuelight.server.recommender.importing.source import Source

__all__ = ["TextFile", "read_text_file"]

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


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text, and how to take it apart."""

    data: bytes
    """UTF-8, with `delimiter` between cells."""
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    """With a header comes the quoting of CSV; MovieLens's files without one have none."""
    decimal: str
    """Before the decimals of a number."""

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


def read_text_file(source: Source) -> TextFile:
    """Return a file's text. Raises: ConfigError when it is empty, of another format or its encoding broken, OSError."""
    data = read_bytes(source.path)
    if not data.strip():
        raise ConfigError(f"{source}: expected rows, the file is empty")
    name = bare_name(source.path)
    layout = next((found for pattern, found in _WITHOUT_HEADER.items() if re.fullmatch(pattern, name)), None)
    if layout is None:
        return _with_header(_as_utf_8(data, source.path), source)
    delimiter, names = layout
    delimiter = source.delimiter or delimiter
    data = _from_movielens(data)
    if len(delimiter) > 1:
        data, delimiter = data.replace(delimiter.encode(), _UNIT_SEPARATOR.encode()), _UNIT_SEPARATOR
    return TextFile(data, delimiter, names, False, ".")


def _with_header(data: bytes, source: Source) -> TextFile:
    [first_line] = re.findall(rb"\A[\r\n]*([^\r\n]*)", data)
    header = first_line.decode()
    delimiter = source.delimiter or find_delimiter(header, known_names(source.columns), bare_name(source.path))
    names = tuple(next(csv.reader([header], delimiter=delimiter)))
    return TextFile(data, delimiter, names, True, decimal_mark(data, delimiter))


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
