"""What is drawn for a shelf: how many places, which, and which items; the same for the same seed."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuelight.server.recommender.exploration import draw, generator_of, mixed, new_seed

MANY = 4000


@given(st.integers(0, 2**64 - 1), st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))
def test_a_draw_is_within_the_shelf_and_below_it_and_comes_again(seed: int, n: int, n_below: int, share: float) -> None:
    first, again = (draw(generator_of(seed, "ann"), n, n_below, share) for _ in range(2))

    assert first.places.tolist() == again.places.tolist() == sorted(set(first.places.tolist()))
    assert first.below.tolist() == again.below.tolist()
    assert len(first) == len(set(first.below.tolist())) <= min(n, n_below, np.ceil(n * share))
    assert len(first) >= min(n, n_below, np.floor(n * share))
    assert set(first.places.tolist()) <= set(range(n))
    assert set(first.below.tolist()) <= set(range(n_below))


@pytest.mark.parametrize(("share", "counts"), [(0.0, {0}), (0.2, {2}), (0.25, {2, 3}), (1.0, {10})])
def test_places_are_the_share_and_a_fraction_is_drawn(share: float, counts: set[int]) -> None:
    drawn = [len(draw(generator_of(seed, "ann"), 10, 50, share)) for seed in range(MANY)]

    assert set(drawn) == counts
    # Five standard deviations of the mean of so many draws of a fraction.
    assert np.mean(drawn) == pytest.approx(10 * share, abs=5 * 0.5 / np.sqrt(MANY))


def test_any_place_is_as_likely_and_items_fall_with_their_rank_without_coming_twice() -> None:
    draws = [draw(generator_of(seed, "ann"), 2, 3, 1.0) for seed in range(MANY)]
    weights = [1 / 3, 1 / 4, 1 / 5]
    expected = {
        (first, second): weights[first] / sum(weights) * weights[second] / (sum(weights) - weights[first])
        for first, second in itertools.permutations(range(3), 2)
    }

    found = Counter(tuple(drawn.below.tolist()) for drawn in draws)

    for pair, probability in expected.items():
        assert found[pair] / MANY == pytest.approx(probability, abs=5 * np.sqrt(probability / MANY))
    places = Counter(int(draw(generator_of(seed, "ann"), 4, 3, 0.25).places[0]) for seed in range(MANY))
    assert all(count / MANY == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / MANY)) for count in places.values())


def test_who_asks_with_the_same_seed_has_draws_of_their_own() -> None:
    draws = {tuple(draw(generator_of(7, f"user {n}"), 10, 1000, 0.3).below.tolist()) for n in range(50)}

    assert len(draws) == 50


def test_one_item_less_below_leaves_the_draw_as_it_is_where_it_was_not_drawn() -> None:
    kept = 0
    for seed in range(100):
        before, after = (draw(generator_of(seed, "ann"), 10, n_below, 0.3) for n_below in (1000, 999))
        if 999 not in before.below:
            assert (before.places.tolist(), before.below.tolist()) == (after.places.tolist(), after.below.tolist())
            kept += 1
    assert kept > 90


def test_the_best_keep_their_order_in_the_places_that_are_left() -> None:
    drawn = draw(generator_of(3, "ann"), 5, 9, 0.4)

    shelf = mixed(np.array([10, 11, 12, 13, 14]), drawn, np.array([90, 91]))

    assert shelf[drawn.places].tolist() == [90, 91]
    assert [place for place in shelf.tolist() if place < 90] == [10, 11, 12]


def test_seeds_of_the_server_are_whole_in_every_language_and_not_foreseen() -> None:
    seeds = {new_seed() for _ in range(100)}

    assert len(seeds) == 100
    assert all(1 <= seed < 2**53 for seed in seeds)
