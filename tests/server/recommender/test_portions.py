"""Large calls are made in portions, each of them short or of one shelf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuelight.server.recommender.portions import PORTION_MS, expected_ms, portions
from cuelight.server.recommender.shelves import ShelfOptions

_OPTIONS = st.builds(ShelfOptions, n=st.integers(1, 100), explain=st.booleans(), diversity=st.sampled_from([0.0, 0.5]))


@given(st.lists(_OPTIONS, max_size=60))
def test_portions_are_all_shelves_in_their_order_and_short(asked: list[ShelfOptions]) -> None:
    parts = [asked[part] for part in portions(asked)]

    assert [options for part in parts for options in part] == asked
    for part in parts:
        assert len(part) == 1 or sum(map(expected_ms, part)) <= PORTION_MS


@given(st.lists(_OPTIONS, min_size=2, max_size=60))
def test_no_portion_could_take_in_what_comes_after_it(asked: list[ShelfOptions]) -> None:
    for part in list(portions(asked))[:-1]:
        assert sum(map(expected_ms, asked[part])) + expected_ms(asked[part.stop]) > PORTION_MS


def test_reasons_and_diversity_take_longer() -> None:
    plain = expected_ms(ShelfOptions(n=50))

    assert expected_ms(ShelfOptions(n=50, explain=True)) > plain
    assert expected_ms(ShelfOptions(n=50, diversity=0.1)) > plain
    assert expected_ms(ShelfOptions(n=100)) == pytest.approx(plain, rel=0.5)
