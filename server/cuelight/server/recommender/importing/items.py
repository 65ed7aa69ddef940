"""The items of a file: titles, tags and numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cuelight.server.recommender.embeddings import Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.columns import column, needed_column, read_table
from cuelight.server.recommender.importing.embedding_columns import embedding_columns
from cuelight.server.recommender.importing.ids import ids_by_place

__all__ = ["Items", "read_items"]

_TAG_SEPARATOR = "|"
_NO_GENRES = "(no genres listed)"
"""Source: MovieLens's README files since 2015."""


@dataclass(frozen=True, slots=True)
class Items:
    """What a file says of items, by id; of several rows of one item the last counts."""

    attributes: Mapping[str, ItemAttributes]
    rows: int
    embeddings: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    """By item and space."""


def read_items(path: Path) -> Items:
    """Return the items of a file: column item, and optionally title and tags, separated by "|".

    Other columns: one of only 0 and 1 is a tag of its name, any other of numbers is a number; one of lists of numbers,
    as Parquet can have, holds embeddings, and its name is their space. Raises: ConfigError.
    """
    table = read_table(path)
    places, ids = ids_by_place(needed_column(table, "item", path), "item", path)
    titles, tags = _texts(table, "title"), _texts(table, "tags")
    flags, numbers = _flags_and_numbers(table)
    attributes = {
        ids[place]: ItemAttributes(
            title=titles[row],
            tags=(*_split(tags[row]), *(name for name, values in flags.items() if values[row])),
            numbers={
                name: float(v[row]) for name, v in numbers.items() if v[row] is not None and math.isfinite(v[row])
            },
        )
        for row, place in enumerate(places.tolist())
    }
    embeddings: dict[str, dict[str, Vector]] = {}
    for space, vectors in embedding_columns(table, path):
        for row, place in enumerate(places.tolist()):
            # Of several rows of one item the last counts, whether it has a vector or not.
            known = embeddings.setdefault(ids[place], {})
            known.pop(space, None)
            if (vector := vectors[row]) is not None:
                known[space] = vector
    return Items(attributes, len(places), embeddings)


def _texts(table: Any, what: str) -> list[str]:
    found = column(table, what)
    return [""] * table.num_rows if found is None else [str(text or "").strip() for text in found.to_pylist()]


def _split(tags: str) -> tuple[str, ...]:
    return tuple(tag for tag in tags.split(_TAG_SEPARATOR) if tag and tag != _NO_GENRES)


def _flags_and_numbers(table: Any) -> tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[float]]]:
    """Return the columns of only 0 and 1, and the other ones of numbers; ids and empty columns are neither."""
    flags: dict[str, Sequence[int]] = {}
    numbers: dict[str, Sequence[float]] = {}
    for name in table.column_names:
        if table.column(name).type.num_fields:
            continue  # of lists, or of structs
        values = table.column(name).to_pylist()
        kinds = {type(value) for value in values if value is not None}
        if name.lower().endswith("id") or not kinds or not kinds <= {int, float, bool}:
            continue
        if kinds <= {int, bool} and set(values) <= {0, 1}:
            flags[name] = values
        else:
            numbers[name] = values
    return flags, numbers
