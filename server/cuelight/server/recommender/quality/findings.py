"""What the measures mean, and what to do about it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.importing.items import Items
from cuelight.server.recommender.quality.catalogue_gaps import CatalogueGaps
from cuelight.server.recommender.quality.dates import date_of
from cuelight.server.recommender.quality.duplicates import Duplicates
from cuelight.server.recommender.quality.outlier_users import MIN_EVENTS_TO_JUDGE, find_outlier_users
from cuelight.server.recommender.quality.report import Finding, Level
from cuelight.server.recommender.quality.spread import FEW_EVENTS, Spread
from cuelight.server.recommender.quality.time_order import find_time_order

__all__ = ["catalogue_findings", "duplicate_findings", "spread_findings", "time_findings", "user_findings"]


def duplicate_findings(told: Interactions, found: Duplicates) -> Iterator[Finding]:
    """Yield what rows say twice."""
    yield _of_rows(Level.NOTE, "repeated events", found.repeated, "nothing: they count once")
    if told.has_times:
        advice = f"{_which_counts(told)}; which is right?"
        yield _of_rows(Level.CHECK, "another value at the same time", found.contradicting, advice)
    yield _of_rows(Level.NOTE, "said again at another time", found.changed, "nothing: the latest counts")
    yield _of_rows(Level.CHECK, "event ids used again", found.reused_ids, "dropped: give each event an id of its own")


def time_findings(told: Interactions, duplicates: Duplicates, now_s: float) -> Iterator[Finding]:
    """Yield what is odd about times; without any, also what they would have decided."""
    if not told.has_times:
        advice = "name a column time_s or timestamp: recency and last-out evaluation need it"
        again = int(duplicates.contradicting.sum())
        if again:
            advice += f"; {again:,} rows give a user's item another value than one before: {_which_counts(told)}"
        row = int(np.argmax(duplicates.contradicting)) if again else None
        yield Finding(Level.CHECK, "no times", len(told), len(told), advice, row)
        return
    found = find_time_order(told, now_s)
    unit = "they are milliseconds: divide by 1,000" if found.in_milliseconds else "seconds of Unix time are expected"
    yield _of_rows(Level.REFUSED, "in the future", found.future, unit)
    yield _of_rows(Level.REFUSED, "before 1970", found.before_1970, "seconds of Unix time are expected")
    yield _of_rows(Level.CHECK, "before 1995", found.before_1995, "no time, or another unit? seconds are expected")
    yield _of_rows(Level.NOTE, "out of order", found.going_back, "nothing: the time counts, not the line")
    order = "which came first is not known: sequential models and last-out guess"
    yield _of_rows(Level.NOTE, "in one second with others of the user", found.same_second, order)
    for gap in found.gaps[:1]:
        advice = f"the longest is from {date_of(gap.start_s)} to {date_of(gap.end_s)}: were events lost?"
        yield Finding(Level.CHECK, "gaps without an event", len(found.gaps), None, advice)


def user_findings(told: Interactions) -> Iterator[Finding]:
    """Yield which users are unlike the others."""
    found = find_outlier_users(told)
    at_least = f"of {MIN_EVENTS_TO_JUDGE} and more"
    cases = (
        ("users with far more events than others", found.far_more, "bots, testers, shared accounts? leave them out"),
        (f"users with all events, {at_least}, at one second", found.one_second, "an upload? its times are no times"),
        (f"users with all events, {at_least}, of one value", found.one_value, "they tell what was seen, not how liked"),
    )
    for what, users, advice in cases:
        row = int(np.argmax(np.isin(told.users, users))) if len(users) else None
        yield Finding(Level.CHECK, what, len(users), len(told.user_ids), advice, row)


def spread_findings(told: Interactions, spread: Spread, min_value: float) -> Iterator[Finding]:
    """Yield where there is little to learn from."""
    few_users, few_items = (int((events < FEW_EVENTS).sum()) for events in (spread.user_events, spread.item_events))
    advice = "nothing: popularity and content answer for them"
    yield Finding(Level.NOTE, f"users with fewer than {FEW_EVENTS} events", few_users, len(told.user_ids), advice)
    advice = "nothing: content recommends them"
    yield Finding(Level.NOTE, f"items with fewer than {FEW_EVENTS} events", few_items, len(told.item_ids), advice)
    several = len(told.stated) > 0 and bool(np.ptp(told.stated))
    if spread.liked == 0 or (spread.liked == 1 and several):
        what = "events that are likes" if spread.liked else "events that are no likes"
        advice = f"--min-value: from which value on is it a like? (now {min_value:g})"
        yield Finding(Level.CHECK, what, len(told), len(told), advice)
    if told.has_values and not several and len(told) > 1:
        yield Finding(Level.NOTE, "events of one value", len(told), len(told), "nothing: each counts as the others do")


def catalogue_findings(gaps: CatalogueGaps, unknown: NDArray[np.bool_], told: Items | None) -> Iterator[Finding]:
    """Yield where catalogue and interactions do not meet; `told` are the items of a file, if there is one."""
    if not gaps.items:
        advice = "--items: content models, filters and titles need them"
        yield Finding(Level.CHECK, "events without a catalogue", len(unknown), len(unknown), advice)
        return
    yield _of_rows(Level.CHECK, "events with items not in the catalogue", unknown, "add these items, or mend their ids")
    cases = (
        (Level.NOTE, "items nobody touched", gaps.untouched, "nothing: content recommends them"),
        (Level.CHECK, "items of which nothing is known", gaps.without_any, "content cannot find anything like them"),
        (Level.CHECK, "items without a title", gaps.without_title, "name a column title"),
        (Level.CHECK, "items without tags", gaps.without_tags, "name a column tags (a|b), or columns of 0 and 1"),
        (Level.NOTE, "items without numbers", gaps.without_numbers, "nothing, unless filters ask for ranges"),
        (Level.CHECK, "items with a title of another", gaps.same_title, "one item with two ids? join them"),
    )
    for level, what, count, advice in cases:
        yield Finding(level, what, count, gaps.items, advice)
    if told is not None:
        twice = told.rows - len(told.attributes)
        yield Finding(Level.CHECK, "rows of items told of before", twice, told.rows, "the last one counts")


def _which_counts(told: Interactions) -> str:
    return "the first one counts" if told.event_ids is None else "the last one counts"


def _of_rows(level: Level, what: str, rows: NDArray[np.bool_], advice: str) -> Finding:
    count = int(rows.sum())
    return Finding(level, what, count, len(rows), advice, int(np.argmax(rows)) if count else None)
