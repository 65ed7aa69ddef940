"""How much of anything a caller may send or leave behind: what is beyond is refused by name, and nothing of it kept.

Databases from before these limits still open, and what they hold beyond them stays.
"""

from collections.abc import Collection, Iterable, Sequence

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.store.events import MAX_ID_BYTES

__all__ = [
    "MAX_EVENTS_A_MESSAGE",
    "MAX_FILTER_TAGS",
    "MAX_ITEMS_A_CALL",
    "MAX_NAME_BYTES",
    "MAX_NUMBERS_AN_ITEM",
    "MAX_RANGES",
    "MAX_TAGS_AN_ITEM",
    "MAX_TITLE_BYTES",
    "check_at_most",
    "check_attributes",
    "check_filter",
    "check_name",
]

MAX_NAME_BYTES = MAX_ID_BYTES
"""Of models, experiments, boosts, tags and numbers."""
MAX_TITLE_BYTES = 4096
MAX_TAGS_AN_ITEM = 1000
MAX_NUMBERS_AN_ITEM = 1000
MAX_ITEMS_A_CALL = 10_000
MAX_EVENTS_A_MESSAGE = 10_000
"""A message is one transaction; a call may have any number of them."""
MAX_FILTER_TAGS = 1000
"""In each of a filter's lists."""
MAX_RANGES = 100


def check_at_most(what: str, count: int, most: int) -> None:
    """Refuse more than so many. Raises: InvalidRequest naming `what` there is too much of."""
    if count > most:
        raise InvalidRequest(f"{what}: expected {most} at most, got {count}")


def check_name(what: str, name: str) -> str:
    """Return a name; one that says nothing may be empty. Raises: InvalidRequest when it is too long."""
    _check_length(what, name, MAX_NAME_BYTES)
    return name


def check_attributes(item: str, title: str, tags: Sequence[str], numbers: Collection[str]) -> None:
    """Check what is said of an item: its title, tags, and the names of its numbers. Raises: InvalidRequest."""
    _check_length(f'item "{item}": title', title, MAX_TITLE_BYTES)
    check_at_most(f'item "{item}": tags', len(tags), MAX_TAGS_AN_ITEM)
    _check_names(f'item "{item}": tag', tags)
    check_at_most(f'item "{item}": numbers', len(numbers), MAX_NUMBERS_AN_ITEM)
    _check_names(f'item "{item}": number', numbers)


def check_filter(any_tags: Sequence[str], all_tags: Sequence[str], none_tags: Sequence[str], ranges: int) -> None:
    """Check a filter's lists of tags, and how many ranges it has. Raises: InvalidRequest."""
    for name, tags in (("any_tags", any_tags), ("all_tags", all_tags), ("none_tags", none_tags)):
        check_at_most(f"filter: {name}", len(tags), MAX_FILTER_TAGS)
        _check_names(f"filter: {name}", tags)
    check_at_most("filter: ranges", ranges, MAX_RANGES)


def _check_names(what: str, names: Iterable[str]) -> None:
    for name in names:
        _check_length(what, name, MAX_NAME_BYTES)


def _check_length(what: str, text: str, most: int) -> None:
    if len(text) * 4 > most and len(text.encode()) > most:
        raise InvalidRequest(f"{what}: expected {most} bytes of UTF-8 at most, got {len(text.encode())}")
