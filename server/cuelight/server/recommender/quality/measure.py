"""From what is imported to the report on it."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.file_table import LeftOut
from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.importing.items import Items
from cuelight.server.recommender.quality.catalogue_gaps import CatalogueGaps, find_catalogue_gaps, find_unknown_items
from cuelight.server.recommender.quality.charts import (
    attribute_chart,
    events_chart,
    growth_charts,
    top_chart,
    values_chart,
)
from cuelight.server.recommender.quality.dates import date_of
from cuelight.server.recommender.quality.duplicates import find_duplicates
from cuelight.server.recommender.quality.findings import (
    catalogue_findings,
    duplicate_findings,
    spread_findings,
    time_findings,
    user_findings,
)
from cuelight.server.recommender.quality.growth import find_growth
from cuelight.server.recommender.quality.report import Chart, Figure, Finding, Level, Report
from cuelight.server.recommender.quality.spread import Spread, find_spread, share_of_top
from cuelight.server.recommender.quality.time_order import MS_PER_S, YEAR_1995_S, are_milliseconds

__all__ = ["Imported", "measure"]

_LEVELS = tuple(Level)


@dataclass(frozen=True, slots=True)
class Imported:
    """What files say, and what the data folder has beside it."""

    title: str
    interactions: Interactions | None
    items: Items | None
    catalogue: Mapping[str, ItemAttributes]
    """Of the file and of the folder."""
    touched: Set[str]
    """Ids of the items that the folder has interactions with; those of the file are added."""
    min_value: float


def measure(imported: Imported, now_s: float) -> Report:
    """Return the report. Users appear in it as numbers alone."""
    told = imported.interactions
    own = set() if told is None else set(told.item_ids)
    gaps = find_catalogue_gaps(imported.catalogue, imported.touched | own)
    unknown = np.zeros(0, np.bool_) if told is None else find_unknown_items(told, imported.catalogue)
    spread = None if told is None else find_spread(told, imported.min_value)
    return Report(
        imported.title,
        tuple(_figures(imported, spread, gaps, now_s)),
        _sorted(_findings(imported, spread, gaps, unknown, now_s)),
        tuple(chart for chart in _charts(imported, spread, gaps, now_s) if chart.rows),
    )


def _figures(imported: Imported, spread: Spread | None, gaps: CatalogueGaps, now_s: float) -> Iterator[Figure]:
    told = imported.interactions
    for left_out in _left_out(imported):
        yield Figure("left out", f"{left_out.count:,} of {left_out.total:,} rows, which cannot be read; the first:")
        yield from (Figure("", why) for why in left_out.first)
    if told is not None and spread is not None:
        yield Figure("events", f"{len(told):,} of {len(told.user_ids):,} users with {len(told.item_ids):,} items")
        yield Figure("pairs", f"{spread.pairs:,} of a user and an item: {spread.density:.3%} of all")
        yield Figure("a user has", _middle(spread.user_events))
        yield Figure("an item has", _middle(spread.item_events))
        yield Figure("top items", ", ".join(_top(spread, share) for share in (0.01, 0.1)))
        if told.has_times:
            yield Figure("time", _period(told.times_s, now_s))
        if told.has_values and len(told.stated):
            values = f"{told.stated.min():g} to {told.stated.max():g}, mean {spread.mean_value:.2f}"
            yield Figure("values", f"{values}; likes (from {imported.min_value:g} on): {spread.liked:.1%}")
    if gaps.items:
        yield Figure("catalogue", f"{gaps.items:,} items, {gaps.items - gaps.untouched:,} of them with events")


def _findings(
    imported: Imported, spread: Spread | None, gaps: CatalogueGaps, unknown: NDArray[np.bool_], now_s: float
) -> Iterator[Finding]:
    told = imported.interactions
    for left_out in _left_out(imported):
        advice = "left out, as --skip-bad-rows says: mend them, and import again"
        yield Finding(Level.CHECK, "rows that cannot be read", left_out.count, left_out.total, advice)
    if told is not None and spread is not None:
        duplicates = find_duplicates(told)
        yield from duplicate_findings(told, duplicates)
        yield from time_findings(told, duplicates, now_s)
        yield from user_findings(told)
        yield from spread_findings(told, spread, imported.min_value)
    yield from catalogue_findings(gaps, unknown, imported.items)


def _charts(imported: Imported, spread: Spread | None, gaps: CatalogueGaps, now_s: float) -> Iterator[Chart]:
    told = imported.interactions
    if told is not None and spread is not None:
        if told.has_times:
            yield from growth_charts(find_growth(told, YEAR_1995_S, now_s))
        yield values_chart(told.stated, imported.min_value)
        yield events_chart("Events a user", "events", "users", spread.user_events)
        yield events_chart("Events an item", "events", "items", spread.item_events)
        yield top_chart(spread.item_events)
    if gaps.items:
        yield attribute_chart(gaps)


def _left_out(imported: Imported) -> Iterator[LeftOut]:
    for told in (imported.interactions, imported.items):
        if told is not None and told.left_out is not None:
            yield told.left_out


def _sorted(findings: Iterator[Finding]) -> tuple[Finding, ...]:
    """By what matters most, each kind in the order it was found in."""
    return tuple(sorted((f for f in findings if f.count), key=lambda finding: _LEVELS.index(finding.level)))


def _period(times_s: NDArray[np.float64], now_s: float) -> str:
    first, last = float(times_s.min()), float(times_s.max())
    if first > now_s and are_milliseconds(times_s, now_s):
        days = f"{date_of(first / MS_PER_S)} to {date_of(last / MS_PER_S)}"
        return f"{days}, if they are milliseconds; seconds are expected"
    return f"{date_of(first)} to {date_of(last)}"


def _middle(events: NDArray[np.int64]) -> str:
    return f"{np.median(events):g} events in the middle, {events.min():,} at least, {events.max():,} at most"


def _top(spread: Spread, share: float) -> str:
    return f"{share:.0%} of them have {share_of_top(spread.item_events, share):.1%} of events"
