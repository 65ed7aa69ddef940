"""What we call a column, and what files call it."""

from collections.abc import Mapping

__all__ = ["COLUMN_NAMES", "known_names"]

COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "userid", "user"),
    "item": ("item_id", "itemid", "item", "movie_id", "movieid", "track_id", "trackid"),
    "value": ("value", "rating", "score"),
    "time": ("time_s", "timestamp", "time"),
    "event": ("event_id", "eventid"),
    "withdrawn": ("withdrawn",),
    "title": ("title", "movie_title", "name"),
    "tags": ("tags", "genres", "genre"),
    "tag list": ("tags_json",),
    "numbers": ("numbers",),
    "named numbers": ("numbers_json",),
    "available": ("available",),
}
"""In lower case. JSON stands in for lists and maps."""


def known_names(named: Mapping[str, str], *words: str) -> frozenset[str]:
    """Return what columns may be called in lower case: all, or those of our words; `named` replaces the usual names."""
    return frozenset(
        name.strip().lower()
        for what in words or COLUMN_NAMES
        for name in ((named[what],) if what in named else COLUMN_NAMES[what])
    )
