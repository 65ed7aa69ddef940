"""`cuelight recommender export`: what a data folder holds as files that `import` reads, beside a server or without."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.exporting.columns import EVENT_SCHEMA, event_row, item_row, item_schema
from cuelight.server.recommender.exporting.table_file import TableFile, check_table_path
from cuelight.server.recommender.liking import MIN_VALUE
from cuelight.server.recommender.progress import progress
from cuelight.server.recommender.store.snapshot import Snapshot

__all__ = ["export_folder"]

_ROWS_AT_ONCE = 50_000

Row = tuple[Any, ...]


def export_folder(data: Path, interactions: Path | None, items: Path | None, all_events: bool, overwrite: bool) -> int:
    """Write interactions, items or both as they stood at one moment, and return the exit code.

    Of several events of a user with an item the one that counts is written, with `all_events` every one. Raises:
    ConfigError when the folder cannot be read or a file not be written; no file is left half written.
    """
    paths = [path for path in (interactions, items) if path is not None]
    for path in paths:
        check_table_path(path, overwrite)
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError(f"{paths[0]}: expected two files, one for interactions and one for items")
    told: list[str] = []
    with Snapshot(data) as snapshot, ExitStack() as files:
        if items is not None:
            told += _write_items(snapshot, items, files)
        if interactions is not None:
            file = files.enter_context(TableFile(interactions, EVENT_SCHEMA))
            total = snapshot.count_events() if all_events else None
            count = _write(file, map(event_row, snapshot.events(all_events)), "exporting interactions", total)
            told.append(f"interactions  {count} into {interactions}")
        min_value = snapshot.setting(MIN_VALUE)
    print("\n".join([*told, _how_to_import(interactions, items, min_value)]))
    return 0


def _write_items(snapshot: Snapshot, path: Path, files: ExitStack) -> list[str]:
    """Write the items, with their embeddings where the format has room for vectors; return what there is to say."""
    known = snapshot.spaces()
    spaces = known if path.suffix == ".parquet" else []
    file = files.enter_context(TableFile(path, item_schema(spaces)))
    rows = (item_row(*item, spaces) for item in snapshot.items(with_embeddings=bool(spaces)))
    count = _write(file, rows, "exporting items", None)
    told = [f"items         {count} into {path}"]
    if known:
        kept = "with them" if spaces else "left out; a .parquet file has room for them"
        told.append(f"embeddings    {', '.join(known)}: {kept}")
    return told


def _write(file: TableFile, rows: Iterator[Row], what: str, total: int | None) -> int:
    count = 0
    with progress(what, total) as advance:
        for chunk in _chunks(rows):
            file.write(chunk)
            count += len(chunk)
            advance(len(chunk))
    return count


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while chunk := list(islice(waiting, _ROWS_AT_ONCE)):
        yield chunk


def _how_to_import(interactions: Path | None, items: Path | None, min_value: float | None) -> str:
    named = (("--interactions", interactions), ("--items", items), ("--min-value", min_value))
    words = [f"{flag} {_text(value)}" for flag, value in named if value is not None]
    return f"back again    cuelight recommender import --data DIR {' '.join(words)}"


def _text(value: Path | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
