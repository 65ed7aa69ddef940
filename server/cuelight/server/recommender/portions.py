"""How much of the models' thread shelves take, so that nobody holds it for long: a large call is made in portions.

Between two portions whoever else has come is served, and a call whose caller has left goes no further.
"""

from collections.abc import Iterator, Sequence

from cuelight.server.recommender.shelves import ShelfOptions

__all__ = ["PORTION_MS", "expected_ms", "portions"]

PORTION_MS = 20.0
_SHELF_MS = 0.5
_ITEM_MS = 0.004
_REASONS_MS = 0.2
"""Of one item, with a history of a hundred."""
_DIVERSE_MS = 0.1
"""Of one item: the similarities of five times as many are looked at."""


def expected_ms(options: ShelfOptions) -> float:
    """Return about how long a shelf takes, on one core of an EPYC and with some thousand items."""
    an_item_ms = _ITEM_MS + _REASONS_MS * options.explain + _DIVERSE_MS * bool(options.diversity)
    return _SHELF_MS + options.n * an_item_ms


def portions(asked: Sequence[ShelfOptions]) -> Iterator[slice]:
    """Cut shelves, in their order, into runs that take no longer than a portion each; a longer one is alone."""
    start, sum_ms = 0, 0.0
    for at, options in enumerate(asked):
        took_ms = expected_ms(options)
        if at > start and sum_ms + took_ms > PORTION_MS:
            yield slice(start, at)
            start, sum_ms = at, 0.0
        sum_ms += took_ms
    if start < len(asked):
        yield slice(start, len(asked))
