"""A file's bytes, unpacked; what import cannot read is refused by name before anything else is said about it."""

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["bare_name", "is_parquet", "read_bytes"]

_READ = "is not a format that import reads: CSV, TSV, Parquet, each also .gz"
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "JSON": (".json", ".jsonl", ".ndjson"),
    "a spreadsheet": (".xlsx", ".xls", ".ods"),
    "an archive": (".zip", ".tar", ".tgz", ".7z"),
    "a compression": (".bz2", ".xz", ".zst", ".lz4"),
    "Arrow": (".arrow", ".feather"),
    "ORC": (".orc",),
    "Avro": (".avro",),
    "a database": (".sqlite", ".sqlite3", ".db", ".duckdb"),
    "Python's or NumPy's": (".pkl", ".pickle", ".npy", ".npz"),
}
"""By the end of the name."""
_LOOKS_LIKE: Mapping[str, re.Pattern[bytes]] = {
    "JSON": re.compile(rb'\s*(\{\s*"|\[\s*[\[{])'),
    "a ZIP archive": re.compile(rb"PK\x03\x04"),
    "gzip, and its name does not end in .gz,": re.compile(rb"\x1f\x8b"),
    "Parquet, and its name has no .parquet,": re.compile(rb"PAR1"),
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def bare_name(path: Path) -> str:
    """Return the file's name without the ending of its compression."""
    return path.name.removesuffix(".gz")


def is_parquet(path: Path) -> bool:
    """Tell by its name whether a file is Parquet: *.parquet, *.parquet.brotli, *.parquet.gz."""
    return ".parquet" in path.name


def read_bytes(path: Path) -> bytes:
    """Return the file's content, unpacked and without a byte order mark.

    Raises: ConfigError when its name or its first bytes say that it is of a format we do not read, or it does not
    unpack; OSError.
    """
    ending = Path(bare_name(path)).suffix.lower()
    kind = next((name for name, endings in _OTHERS.items() if ending in endings), None)
    if kind is not None:
        raise ConfigError(f"{path}: {ending} ({kind}) {_READ}")
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ConfigError(f"{path}: cannot unpack it: {error}") from error
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if not is_parquet(path):
        for name, start in _LOOKS_LIKE.items():
            if start.match(data):
                raise ConfigError(f"{path}: it looks like {name} which {_READ}")
    return data
