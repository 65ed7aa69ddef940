"""Options of a shelf from the wire, and a shelf back onto it."""

import math
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import Boost
from cuelight.server.recommender.catalogue import ItemFilter, NumberRange
from cuelight.server.recommender.messages import event_of, options_of, query_of, shelf_message
from cuelight.server.recommender.shelves import Recommendation, Shelf, ShelfOptions


def test_what_is_not_set_has_its_default() -> None:
    assert options_of(pb.ShelfOptions()) == ShelfOptions()
    boosts = options_of(pb.ShelfOptions(boosts=[pb.Boost(item_ids=["a"])])).boosts
    assert boosts == (Boost("boost", ("a",), None, 1.0, 0.0),)
    assert options_of(pb.ShelfOptions()).exclude_seen_since_s == -math.inf


def test_every_option_arrives() -> None:
    new = pb.Filter(any_tags=["new"], ranges=[pb.Range(name="year", min=2020)])
    message = pb.ShelfOptions(
        exclude_seen_since=Timestamp(seconds=1_700_000_000, nanos=500_000_000),
        boosts=[pb.Boost(name="new", filter=new, factor=1.5), pb.Boost(item_ids=["a", "b"], add=-2.0)],
        exploration=0.1,
        seed=2**64 - 1,
        max_reasons=3,
        exclude_item_ids=["c", "d"],
    )

    options = options_of(message)

    conditions = ItemFilter(any_tags=("new",), ranges=(NumberRange("year", 2020.0),))
    assert options.exclude_seen_since_s == 1_700_000_000.5
    assert options.boosts == (Boost("new", (), conditions, 1.5), Boost("boost", ("a", "b"), None, 1.0, -2.0))
    assert (options.exploration, options.seed, options.max_reasons) == (0.1, 2**64 - 1, 3)
    assert options.excluded == ("c", "d")


def test_a_filter_that_is_set_and_empty_is_for_all_items() -> None:
    [boost] = options_of(pb.ShelfOptions(boosts=[pb.Boost(filter=pb.Filter())])).boosts

    assert boost.conditions == ItemFilter()


def test_the_server_chooses_a_seed_where_there_is_exploration_without_one() -> None:
    chosen = {options_of(pb.ShelfOptions(exploration=0.5)).seed for _ in range(10)}

    assert len(chosen) == 10
    assert 0 not in chosen
    assert options_of(pb.ShelfOptions(exploration=0.5, seed=0)).seed == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"boosts": [pb.Boost(name="sale", factor=0.0)]}, 'boost "sale": factor: expected a number above 0, got 0.0'),
        ({"boosts": [pb.Boost(add=math.nan)]}, 'boost "boost": add: expected a finite number, got nan'),
        ({"boosts": [pb.Boost(item_ids=["a"])] * 101}, "boosts: expected 100 at most, got 101"),
        ({"boosts": [pb.Boost(name="sale", factor=2.0)]}, 'boost "sale": expected item_ids or filter, got neither'),
        ({"exploration": 1.5}, "exploration: expected 0 to 1, got 1.5"),
        ({"include_seen": True, "exclude_seen_since": Timestamp()}, "exclude_seen_since: expected without"),
        ({"exclude_seen_since": Timestamp(seconds=2**62)}, "exclude_seen_since: expected years 1 to 9999"),
        ({"exclude_seen_since": Timestamp(nanos=-5)}, "exclude_seen_since: .* got 0 s and -5 nanos"),
        ({"n": 101, "explain": True}, "n: expected 100 at most with explain, got 101"),
        ({"n": 201, "diversity": 0.5}, "n: expected 200 at most with diversity, got 201"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        options_of(pb.ShelfOptions(**options))


@pytest.mark.parametrize(
    "time", [Timestamp(seconds=2**63 - 1), Timestamp(seconds=-(2**63)), Timestamp(nanos=-5), Timestamp(nanos=2**31 - 1)]
)
def test_an_event_at_no_time_is_refused_by_name(time: Timestamp) -> None:
    event = pb.Interaction(event_id="e1", user_id="u", item_id="i", time=time)

    with pytest.raises(InvalidRequest, match='event "e1": time: expected years 1 to 9999 and 0 to 999999999 nanos'):
        event_of(event, now_s=1e9, plain_like=1.0)


@pytest.mark.parametrize("weight", [1e308, 1e7, 1e-7, 5e-324, -1.0, math.nan, math.inf])
def test_weights_that_sums_could_not_hold_are_refused_by_name(weight: float) -> None:
    history = pb.History(items=[pb.LikedItem(item_id="heavy", weight=weight)])

    with pytest.raises(InvalidRequest, match='history: "heavy": weight: expected 1e-06 to 1e\\+06, got'):
        query_of(pb.Query(history=history))


def test_a_shelf_tells_its_seed_and_what_is_explored() -> None:
    shelf = Shelf((Recommendation("a", 1.0), Recommendation("b", 0.5, (), True)), "ease", 7, seed=2**64 - 1)

    message = shelf_message(shelf)

    assert [item.explored for item in message.items] == [False, True]
    assert message.seed == 2**64 - 1
