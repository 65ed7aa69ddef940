"""Rules that lift and lower: by formula, one after the other, each with its exact share."""

import numpy as np
import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import Boost, boosted, rules_of, shares_of_boosts
from cuelight.server.recommender.catalogue import Catalogue, ItemFilter
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.names import Names

CATALOGUE = Catalogue([ItemAttributes(tags=("new",)), ItemAttributes(), ItemAttributes(tags=("new",), available=False)])
ITEMS = Names({"a": 0, "b": 1, "c": 2})
NEW = ItemFilter(any_tags=("new",))
SCORES = np.array([2.0, -4.0, 0.0])


@pytest.mark.parametrize(
    ("boosts", "expected"),
    [
        ([], [2.0, -4.0, 0.0]),
        ([Boost(items=("a", "b"), factor=1.5)], [3.0, -2.0, 0.0]),
        ([Boost(items=("a", "b"), factor=0.5)], [1.0, -6.0, 0.0]),
        ([Boost(conditions=NEW, add=1.0)], [3.0, -4.0, 0.0]),
        ([Boost(items=("c", "unheard of"), conditions=NEW, add=1.0)], [3.0, -4.0, 1.0]),
        ([Boost(conditions=ItemFilter(include_unavailable=True), add=1.0)], [3.0, -3.0, 1.0]),
        ([Boost(items=("a",), add=1.0), Boost(items=("a",), factor=2.0)], [6.0, -4.0, 0.0]),
        ([Boost(items=("a",), factor=2.0), Boost(items=("a",), add=1.0)], [5.0, -4.0, 0.0]),
        ([Boost(items=("a",), factor=2.0, add=1.0)], [5.0, -4.0, 0.0]),
    ],
    ids=[
        "none",
        "lifts whatever the sign",
        "lowers whatever the sign",
        "by a filter",
        "by name and by a filter",
        "with what is not available",
        "add, then factor",
        "factor, then add",
        "factor and add of one",
    ],
)
def test_scores_move_by_the_rules_and_shares_tell_how_far(boosts: list[Boost], expected: list[float]) -> None:
    rules = rules_of(boosts, CATALOGUE, ITEMS)

    moved = boosted(SCORES, rules)

    assert moved.tolist() == expected
    for place, score in enumerate(SCORES.tolist()):
        assert score + sum(shares_of_boosts(score, place, rules).values()) == expected[place]


def test_rules_of_one_name_have_one_share_and_none_has_a_share_of_nothing() -> None:
    boosts = [
        Boost("sale", ("a",), add=1.0),
        Boost("sale", ("a",), factor=2.0),
        Boost("idle", ("a",)),
        Boost("b", ("b",)),
    ]

    assert shares_of_boosts(2.0, 0, rules_of(boosts, CATALOGUE, ITEMS)) == {"sale": 4.0}


def test_scores_that_would_not_be_finite_are_refused_by_name() -> None:
    rules = rules_of([Boost("rocket", ("a",), factor=1e308)] * 2, CATALOGUE, ITEMS)

    with pytest.raises(InvalidRequest, match="rocket"):
        boosted(SCORES, rules)


def test_a_rule_for_no_items_is_refused_and_one_for_all_is_not() -> None:
    with pytest.raises(InvalidRequest, match='boost "sale": expected item_ids or filter, got neither'):
        Boost("sale", factor=2.0)
    assert Boost("sale", conditions=ItemFilter(), factor=2.0).factor == 2.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factor", 0.0),
        ("factor", -1.0),
        ("factor", float("inf")),
        ("factor", float("nan")),
        ("add", float("inf")),
        ("add", float("nan")),
    ],
)
def test_what_no_rule_can_be_is_refused_by_field(field: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=f'boost "sale": {field}: expected .*, got {value}'):
        Boost("sale", **{field: value})  # type: ignore[arg-type]
