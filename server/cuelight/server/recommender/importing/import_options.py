"""The command line of `cuelight recommender import`, and the files it names."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.source import Source

__all__ = ["add_import_options", "sources_of"]

_TAB = ("tab", "\\t")
_COLUMN_FLAGS = (
    ("--user-column", "user", "of --interactions, where it has a name of its own (user_id, userId, user are known)"),
    ("--item-column", "item", "of --interactions"),
    ("--value-column", "value", "of --interactions: ratings"),
    ("--time-column", "time", "of --interactions: Unix time or dates"),
)
_ITEM_COLUMN_FLAGS = (
    ("--id-column", "item", "of --items: the items' ids"),
    ("--title-column", "title", "of --items"),
    ("--tags-column", "tags", "of --items"),
)


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add everything but the data folder."""
    parser.add_argument(
        "--interactions", type=Path, action=_Once, metavar="FILE", help="CSV, Parquet or a MovieLens file; also .gz"
    )
    parser.add_argument(
        "--items", type=Path, action=_Once, metavar="FILE", help="the same; titles, tags and numbers of items"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="page on the data's quality (default: DIR/quality.html)"
    )
    parser.add_argument(
        "--movielens-100k", action="store_true", help="fetch and import MovieLens 100K (GroupLens: for research)"
    )
    parser.add_argument(
        "--min-value",
        type=float,
        metavar="VALUE",
        help="from here on a value is a like; kept with the data (default: 1)",
    )
    parser.add_argument(
        "--delimiter", metavar="CHAR", help="between cells, `tab` for a tab (default: what the header has of , ; | tab)"
    )
    for name, _, text in (*_COLUMN_FLAGS, *_ITEM_COLUMN_FLAGS):
        parser.add_argument(name, metavar="NAME", help=text)
    parser.add_argument(
        "--skip-bad-rows",
        nargs="?",
        type=int,
        const=math.inf,
        default=0,
        metavar="MOST",
        help="leave out rows that cannot be read, so many of a file at most (default: refuse the file at the first)",
    )
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where fetched files are kept")


def sources_of(arguments: argparse.Namespace) -> tuple[Source | None, Source | None]:
    """Return the files of interactions and of items, None for one that is not named. Raises: ConfigError."""
    if arguments.skip_bad_rows < 0:
        raise ConfigError(f"--skip-bad-rows: got {arguments.skip_bad_rows}, expected 0 or more")
    delimiter = _delimiter(arguments.delimiter)
    return (
        _source(arguments.interactions, "--interactions", _COLUMN_FLAGS, delimiter, arguments),
        _source(arguments.items, "--items", _ITEM_COLUMN_FLAGS, delimiter, arguments),
    )


def _source(
    path: Path | None,
    flag: str,
    column_flags: Sequence[tuple[str, str, str]],
    delimiter: str | None,
    arguments: argparse.Namespace,
) -> Source | None:
    told = {name: getattr(arguments, name.removeprefix("--").replace("-", "_")) for name, _, _ in column_flags}
    if path is None:
        alone = next((name for name, column in told.items() if column is not None), None)
        if alone is not None:
            raise ConfigError(f"{alone}: it names a column of {flag}, which is not given")
        return None
    columns = {what: told[name] for name, what, _ in column_flags if told[name] is not None}
    return Source(path, delimiter, columns, arguments.skip_bad_rows)


def _delimiter(told: str | None) -> str | None:
    if told is None or len(told) == 1:
        return told
    if told in _TAB:
        return "\t"
    raise ConfigError(f"--delimiter: got {told!r}, expected one character, or tab")


class _Once(argparse.Action):
    """A flag that would silently win over itself is refused when it comes again."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option}: got it twice, expected one file; import the files one after the other")
        setattr(namespace, self.dest, values)
