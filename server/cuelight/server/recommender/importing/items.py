"""The items of a file: titles, tags and numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cuelight.server.recommender.embeddings import Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.columns import read_table
from cuelight.server.recommender.importing.embedding_columns import embedding_columns
from cuelight.server.recommender.importing.file_table import FileTable, LeftOut
from cuelight.server.recommender.importing.ids import ids_by_place
from cuelight.server.recommender.importing.item_cells import availability, named_numbers, tags, texts
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.importing.title_years import YEAR, title_years

__all__ = ["Items", "read_items"]

_NAMED = frozenset({"available"})
"""Numbers or truths, and neither a filter's number nor a tag."""


@dataclass(frozen=True, slots=True)
class Items:
    """What a file says of items, by id; of several rows of one item the last counts."""

    attributes: Mapping[str, ItemAttributes]
    rows: int
    embeddings: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    """By item and space."""
    left_out: LeftOut | None = None
    years_in_titles: int = 0
    """Of so many items the number `year` is from the title."""


def read_items(source: Source) -> Items:
    """Return the items of a file: column item, and optionally title, tags (a list, or separated by "|") and available.

    Numbers by name may come as JSON in `numbers_json`, or as a map of a Parquet file; tags as JSON in `tags_json`.
    Other columns: one of only 0 and 1 is a tag of its name, any other of numbers is a number; one of lists of numbers,
    as Parquet can have, holds embeddings, and its name is their space. Of MovieLens's films the year behind the title
    is the number `year`. Raises: ConfigError.
    """
    table = read_table(source)
    places, ids = ids_by_place(table, table.needed_column("item"), "item")
    titles, listed, named = texts(table, "title"), tags(table), named_numbers(table)
    available = availability(table)
    flags, numbers = _flags_and_numbers(table)
    years = title_years(source, table.arrow.column_names, titles)
    vectors = list(embedding_columns(table))
    left_out = table.left_out()
    kept = [(row, ids[place]) for row, place in enumerate(places.tolist()) if table.kept[row]]
    attributes = {
        item: ItemAttributes(
            title=titles[row],
            tags=(*listed[row], *(name for name, values in flags.items() if values[row])),
            numbers={
                **{name: float(v[row]) for name, v in numbers.items() if v[row] is not None and math.isfinite(v[row])},
                **({} if (year := years[row]) is None else {YEAR: year}),
                **named[row],
            },
            available=available[row],
        )
        for row, item in kept
    }
    from_titles = len({item for row, item in kept if years[row] is not None})
    return Items(attributes, len(kept), _embeddings(vectors, kept), left_out, from_titles)


def _embeddings(
    columns: Sequence[tuple[str, Sequence[Vector | None]]], kept: Sequence[tuple[int, str]]
) -> Mapping[str, Mapping[str, Vector]]:
    """Return vectors by item and space; of several rows of one item the last counts, whether it has a vector or not."""
    embeddings: dict[str, dict[str, Vector]] = {}
    for space, vectors in columns:
        for row, item in kept:
            known = embeddings.setdefault(item, {})
            known.pop(space, None)
            if (vector := vectors[row]) is not None:
                known[space] = vector
    return embeddings


def _flags_and_numbers(table: FileTable) -> tuple[Mapping[str, Sequence[int]], Mapping[str, Sequence[float]]]:
    """Return the columns of only 0 and 1, and the other ones of numbers; ids and empty columns are neither."""
    flags: dict[str, Sequence[int]] = {}
    numbers: dict[str, Sequence[float]] = {}
    named = _NAMED | {name.strip().lower() for name in table.source.columns.values()}
    for name in table.arrow.column_names:
        if table.arrow.column(name).type.num_fields:
            continue  # of lists, or of structs
        values = table.arrow.column(name).to_pylist()
        kinds = {type(value) for value in values if value is not None}
        if name.lower().endswith("id") or name.lower() in named or not kinds or not kinds <= {int, float, bool}:
            continue
        if kinds <= {int, bool} and set(values) <= {0, 1}:
            flags[name] = values
        else:
            numbers[name] = values
    return flags, numbers
