"""What is measured of data whose answers are known, or can be counted in a plainer way."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.quality.catalogue_gaps import (
    CatalogueGaps,
    find_catalogue_gaps,
    find_unknown_items,
)
from cuelight.server.recommender.quality.duplicates import find_duplicates
from cuelight.server.recommender.quality.growth import find_growth
from cuelight.server.recommender.quality.outlier_users import find_outlier_users
from cuelight.server.recommender.quality.spread import find_spread, share_of_top, value_counts
from cuelight.server.recommender.quality.time_order import YEAR_1995_S, Gap, find_time_order
from tests.server.recommender.told import Row, told

AT_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""What is checked is what is found, on a busy machine too."""

DAY_S = 86_400.0
NOW_S = 1_700_000_000.0

ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from((1.0, 2.0)), st.sampled_from((5.0, 6.5))),
    min_size=1,
    max_size=30,
)


def test_each_kind_of_duplicate() -> None:
    found = find_duplicates(
        told(
            [
                ("a", "x", 1.0, 5.0),
                ("a", "x", 1.0, 5.0),  # repeated
                ("a", "x", 2.0, 5.0),  # another value at the same time
                ("a", "x", 1.0, 6.0),  # changed, or said again
                ("b", "x", 1.0, 5.0),
                ("a", "x", 2.0, 5.0),  # repeated
            ]
        )
    )

    assert np.flatnonzero(found.repeated).tolist() == [1, 5]
    assert np.flatnonzero(found.contradicting).tolist() == [2]
    assert np.flatnonzero(found.changed).tolist() == [3]
    assert not found.reused_ids.any()


def test_an_event_id_is_used_again_only_if_it_is_for_something_else() -> None:
    rows = [("a", "x", 1.0, 5.0), ("a", "x", 1.0, 5.0), ("b", "x", 1.0, 5.0)]

    assert find_duplicates(told(rows, ["1", "1", "1"])).reused_ids.tolist() == [False, False, True]
    assert find_duplicates(told(rows, ["1", "2", "3"])).reused_ids.tolist() == [False, False, False]


@AT_ANY_PACE
@given(ROWS)
def test_duplicates_are_those_that_a_plain_loop_finds(rows: list[Row]) -> None:
    found = find_duplicates(told(rows))

    for row, (user, item, _, time_s) in enumerate(rows):
        before = rows[:row]
        moments = {(u, i, t) for u, i, _, t in before}
        assert found.repeated[row] == (rows[row] in before)
        assert found.contradicting[row] == ((user, item, time_s) in moments and rows[row] not in before)
        pairs = {(u, i) for u, i, *_ in before}
        assert found.changed[row] == ((user, item) in pairs and (user, item, time_s) not in moments)
    again = found.repeated.sum() + found.contradicting.sum() + found.changed.sum()
    assert len(rows) == again + len({(user, item) for user, item, *_ in rows})


def test_times_too_early_and_too_late() -> None:
    times = [-1.0, 0.0, YEAR_1995_S - 1, YEAR_1995_S, NOW_S, NOW_S + 299, NOW_S + 301]

    found = find_time_order(told([("a", "x", 1.0, time_s) for time_s in times]), NOW_S)

    assert np.flatnonzero(found.before_1970).tolist() == [0]
    assert np.flatnonzero(found.before_1995).tolist() == [1, 2]
    assert np.flatnonzero(found.future).tolist() == [6]


@pytest.mark.parametrize(
    ("times", "expected"),
    [([NOW_S * 1000], True), ([NOW_S * 1000, 1e9], True), ([NOW_S * 2], False), ([NOW_S * 1e6], False), ([1e9], False)],
)
def test_milliseconds_are_known_by_what_they_would_be_as_seconds(times: list[float], expected: bool) -> None:
    found = find_time_order(told([("a", "x", 1.0, time_s) for time_s in times]), NOW_S)

    assert found.in_milliseconds is expected


@AT_ANY_PACE
@given(ROWS)
def test_order_is_that_of_a_plain_loop(rows: list[Row]) -> None:
    found = find_time_order(told(rows), NOW_S)

    for row, (user, item, _, time_s) in enumerate(rows):
        earlier = [t for u, _, _, t in rows[:row] if u == user]
        assert found.going_back[row] == (bool(earlier) and time_s < earlier[-1])
        beside = {i for u, i, _, t in rows if (u, int(t)) == (user, int(time_s))}
        assert found.same_second[row] == (beside != {item})


def test_a_gap_is_where_a_hundred_events_would_have_come() -> None:
    daily = [1e9 + day * DAY_S for day in range(400) if not 100 <= day < 300]

    found = find_time_order(told([("a", "x", 1.0, time_s) for time_s in daily]), NOW_S)

    assert found.gaps == (Gap(1e9 + 99 * DAY_S, 1e9 + 300 * DAY_S),)


@pytest.mark.parametrize("days", [range(400), [0, 300], [day for day in range(400) if not 100 <= day < 130]])
def test_a_short_pause_or_one_among_few_events_is_no_gap(days: list[int]) -> None:
    found = find_time_order(told([("a", "x", 1.0, 1e9 + day * DAY_S) for day in days]), NOW_S)

    assert found.gaps == ()


def test_outlier_users() -> None:
    usual = [(f"u{u}", f"i{i}", float(i % 5), 1e9 + i * 60) for u in range(20) for i in range(5 + u % 10)]
    bot = [("bot", f"i{i}", float(i % 5), 1e9 + i) for i in range(400)]
    upload = [("upload", f"i{i}", float(i % 5), 1e9 + i / 20) for i in range(12)]
    fan = [("fan", f"i{i}", 5.0, 1e9 + i * 60) for i in range(12)]
    few = [("few", f"i{i}", 5.0, 1e9) for i in range(9)]
    data = told(usual + bot + upload + fan + few)

    found = find_outlier_users(data)

    assert [data.user_ids[user] for user in found.far_more] == ["bot"]
    assert [data.user_ids[user] for user in found.one_second] == ["upload"]
    assert [data.user_ids[user] for user in found.one_value] == ["fan"]
    assert found.events[data.user_ids.index("bot")] == 400


def test_nobody_is_an_outlier_where_all_do_alike_or_where_there_is_one_value_and_no_time() -> None:
    found = find_outlier_users(
        told([(f"u{u}", f"i{i}", 1.0, 0.0) for u in range(5) for i in range(20)], has_times=False)
    )

    assert [len(users) for users in (found.far_more, found.one_second, found.one_value)] == [0, 0, 0]


def test_catalogue_and_interactions_that_do_not_meet() -> None:
    catalogue = {
        "x": ItemAttributes("Heat", ("crime",), {"year": 1995.0}),
        "y": ItemAttributes("Heat"),
        "z": ItemAttributes(tags=("crime",)),
        "w": ItemAttributes(),
    }
    data = told([("a", "x", 1.0, 0.0), ("a", "lost", 1.0, 0.0), ("b", "y", 1.0, 0.0), ("b", "lost", 1.0, 0.0)])

    assert find_unknown_items(data, catalogue).tolist() == [False, True, False, True]
    assert find_catalogue_gaps(catalogue, {"x", "y", "lost"}) == CatalogueGaps(
        items=4,
        untouched=2,
        without_title=2,
        without_tags=2,
        without_numbers=3,
        without_any=1,
        same_title=1,
    )


def test_spread_of_a_small_table() -> None:
    rows = [("a", "x", 5.0, 1.0), ("a", "y", 3.0, 1.0), ("a", "x", 4.0, 2.0), ("b", "x", 2.0, 1.0)]

    found = find_spread(told(rows), 4.0)

    assert (found.pairs, found.density, found.liked, found.mean_value) == (3, 0.75, 0.5, 3.5)
    assert (found.user_events.tolist(), found.item_events.tolist()) == ([3, 1], [3, 1])


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [([1] * 100, 0.1, 0.1), ([91, *[1] * 9], 0.1, 0.91), ([3, 1], 0.01, 0.75), ([1] * 30, 0.1, 0.1), ([2, 2], 1.0, 1)],
)
def test_the_share_of_the_most_popular(counts: list[int], share: float, expected: float) -> None:
    assert share_of_top(np.array(counts), share) == pytest.approx(expected)


@AT_ANY_PACE
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50), st.floats(0.001, 1), st.floats(0.001, 1))
def test_more_items_have_more_of_the_events_and_never_less_than_their_part(
    counts: list[int], share: float, other: float
) -> None:
    few, many = sorted((share, other))

    assert share_of_top(np.array(counts), few) <= share_of_top(np.array(counts), many)
    assert share_of_top(np.array(counts), few) >= min(few, 1) - 1e-6


def test_values_are_counted_each_while_they_are_few_and_in_ranges_else() -> None:
    assert value_counts(np.array([5.0, 3.5, 5.0])) == (("3.5", 1), ("5", 2))
    in_ranges = value_counts(np.arange(101.0))
    assert in_ranges[0] == ("0 to 10", 10)
    assert in_ranges[-1] == ("90 to 100", 11)


@AT_ANY_PACE
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_every_value_is_counted_once(values: list[float]) -> None:
    assert sum(count for _, count in value_counts(np.array(values))) == len(values)


def test_growth_over_a_day() -> None:
    hours = [("a", "x", 1.0, 0.0), ("a", "y", 1.0, 3600.0), ("b", "x", 1.0, 12 * 3600.0), ("b", "z", 1.0, DAY_S)]
    long_ago = [("c", "w", 1.0, -DAY_S)]

    found = find_growth(told(long_ago + hours), 0.0, DAY_S)

    assert found.starts_s.tolist() == [3600.0 * hour for hour in range(24)]
    assert np.flatnonzero(found.events).tolist() == [0, 1, 12, 23]
    assert np.flatnonzero(found.new_users).tolist() == [0, 12]
    assert np.flatnonzero(found.new_items).tolist() == [0, 1, 23]


@AT_ANY_PACE
@given(ROWS)
def test_everybody_is_new_once(rows: list[Row]) -> None:
    found = find_growth(told(rows), 0.0, 10.0)

    assert found.events.sum() == len(rows)
    assert found.new_users.sum() == len(Counter(user for user, *_ in rows))
    assert found.new_items.sum() == len(Counter(item for _, item, *_ in rows))


def test_without_a_sensible_time_there_are_no_periods() -> None:
    assert len(find_growth(told([("a", "x", 1.0, -1.0)]), 0.0, 10.0).starts_s) == 0
