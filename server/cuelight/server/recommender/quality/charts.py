"""Figures to draw, from the measures."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.quality.catalogue_gaps import CatalogueGaps
from cuelight.server.recommender.quality.dates import date_of
from cuelight.server.recommender.quality.growth import Growth
from cuelight.server.recommender.quality.report import Chart, Mark
from cuelight.server.recommender.quality.spread import places_below, share_of_top, value_counts

__all__ = ["attribute_chart", "events_chart", "growth_charts", "top_chart", "values_chart"]

_TOP_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


def growth_charts(growth: Growth) -> Iterator[Chart]:
    """Yield events, and new users and items, a row a period."""
    days = tuple(date_of(start_s) for start_s in growth.starts_s.tolist())
    yield Chart("Events over time", "from", days, {"events": _as_floats(growth.events)})
    new = {"new users": _as_floats(growth.new_users), "new items": _as_floats(growth.new_items)}
    yield Chart("New users and items over time", "from", days, new, apart=True)


def values_chart(values: NDArray[np.float64], min_value: float) -> Chart:
    """Return how often each value comes, and from where on it is a like."""
    counts = value_counts(values)
    series = {"events": tuple(float(count) for _, count in counts)}
    mark = Mark(places_below(values, min_value), f"likes: from {min_value:g} on")
    return Chart("Values", "value", tuple(name for name, _ in counts), series, mark=mark)


def events_chart(title: str, row_title: str, of: str, events: NDArray[np.int64]) -> Chart:
    """Return how many have 1 event, 2 to 3, 4 to 7 and so on."""
    counts = np.bincount(np.log2(events[events > 0]).astype(np.int64))
    rows = tuple("1" if i == 0 else f"{2**i:,} to {2 ** (i + 1) - 1:,}" for i in range(len(counts)))
    return Chart(title, row_title, rows, {of: _as_floats(counts)})


def top_chart(events: NDArray[np.int64]) -> Chart:
    """Return which share of events the most popular items have."""
    shares = tuple(100 * share_of_top(events, share) for share in _TOP_SHARES)
    return Chart("Popularity", "top items", tuple(f"{share:.0%}" for share in _TOP_SHARES), {"% of events": shares})


def attribute_chart(gaps: CatalogueGaps) -> Chart:
    """Return how many items have what."""
    missing = {"title": gaps.without_title, "tags": gaps.without_tags, "numbers": gaps.without_numbers}
    has = tuple(float(gaps.items - count) for count in missing.values())
    return Chart("What is known of items", "attribute", tuple(missing), {"items": has})


def _as_floats(counts: NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(float(count) for count in counts)
