"""Files of interactions and items as columns of a table, whatever their format calls them.

*.parquet, *.parquet.brotli     columns by name
*.csv, *.tsv, *.dat, u.data     text; MovieLens's files without a header are known by their names
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError

__all__ = ["column", "read_table"]

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "userid", "user"),
    "item": ("item_id", "itemid", "item", "movie_id", "movieid", "track_id", "trackid"),
    "value": ("value", "rating", "score"),
    "time": ("time_s", "timestamp", "time"),
    "event": ("event_id", "eventid"),
    "title": ("title", "movie_title", "name"),
    "tags": ("tags", "genres", "genre"),
}
"""What we call a column, and what files call it, in lower case."""

_GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_WITHOUT_HEADER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "u.data": ("\t", _RATINGS),
    "u.item": ("|", ("item_id", "title", "release_date", "video_release_date", "url", *_GENRES)),
    "ratings.dat": ("::", _RATINGS),
    "movies.dat": ("::", ("item_id", "title", "genres")),
}
"""Delimiter and columns. Source: the README files of GroupLens's MovieLens 100K, 1M and 10M."""


def read_table(path: Path) -> Any:
    """Return the file as a pyarrow.Table. Raises: ConfigError when it cannot be read."""
    try:
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError('import needs pyarrow: pip install "cuelight[recommender]"') from error
    try:
        return parquet.read_table(path) if ".parquet" in path.name else _read_text(path)
    except (OSError, UnicodeError, pyarrow.ArrowInvalid) as error:
        raise ConfigError(f"{path}: cannot read it: {error}") from error


def column(table: Any, what: str) -> list[Any] | None:
    """Return the values of a column by our word for it, None where the table has no such column."""
    found = next((name for name in table.column_names if name.lower() in _NAMES[what]), None)
    return None if found is None else list(table.column(found).to_pylist())


def _read_text(path: Path) -> Any:
    import io  # noqa: PLC0415

    from pyarrow import csv  # noqa: PLC0415

    data = path.read_bytes()
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("latin-1").encode()  # MovieLens before 2010; a byte is always a letter in it
    delimiter, names = _WITHOUT_HEADER.get(path.name, ("\t" if path.suffix == ".tsv" else ",", None))
    if delimiter == "::":
        delimiter, data = "\x1f", data.replace(b"::", b"\x1f")
    quote = '"' if names is None else False
    return csv.read_csv(
        io.BytesIO(data),
        read_options=csv.ReadOptions(column_names=names),
        parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=quote),
        convert_options=csv.ConvertOptions(strings_can_be_null=True),
    )
