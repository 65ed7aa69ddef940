"""The sequential model, with a network whose answers can be reckoned by hand."""

import numpy as np
import pytest

from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.sequential import START, Sequential

N_ITEMS = 6
PLACES = np.array([4, 0, 2, -1])
"""Items 0 to 3 of the training are at these places of the store; the last one is not there any more."""


class Echo:
    """A network whose state after an item is twice that item's unit vector: what came last comes again most likely."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def states(self, tokens: np.ndarray) -> np.ndarray:
        self.asked.append(tokens)
        states: np.ndarray = 2 * np.vstack([np.zeros(4), np.eye(4)])[tokens]
        return states

    def last(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return self.states(tokens)[range(len(ends)), ends]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def model(echo: Echo) -> Sequential:
    return Sequential(echo, np.eye(4), PLACES, length=3, n_items=N_ITEMS)


LIKELY = np.exp(2) / (np.exp(2) + 3)
UNLIKELY = 1 / (np.exp(2) + 3)


def test_the_latest_like_decides_whatever_order_the_places_have(model: Sequential) -> None:
    [first, second] = model.scores([History.of([0, 4], 1.0, [5.0, 9.0]), History.of([0, 4], 1.0, [9.0, 5.0])])

    np.testing.assert_allclose(first, [UNLIKELY, 0, UNLIKELY, 0, LIKELY, 0])
    np.testing.assert_allclose(second, [LIKELY, 0, UNLIKELY, 0, UNLIKELY, 0])


def test_what_the_training_did_not_know_scores_lowest_and_has_no_say(model: Sequential, echo: Echo) -> None:
    [scores, unheard_of] = model.scores([History.of([1, 2, 5], 1.0, [1.0, 2.0, 3.0]), History.of([1, 3])])

    assert echo.asked[0].tolist() == [[START, 3], [START, START]]
    assert scores[[1, 3, 5]].tolist() == [0, 0, 0]
    assert (scores[PLACES[:3]] > 0).all()
    np.testing.assert_allclose(unheard_of[PLACES[:3]], 1 / 4)


def test_the_latest_items_are_looked_at_and_no_more(model: Sequential, echo: Echo) -> None:
    wider = Sequential(echo, np.eye(4), np.array([0, 1, 2, 3]), length=3, n_items=4)

    wider.scores([History.of([0, 1, 2, 3], 1.0, [4.0, 3.0, 2.0, 1.0])])

    assert echo.asked[0].tolist() == [[START, 3, 2, 1]]


def test_a_share_is_what_the_chance_changed_by_when_the_item_came(model: Sequential) -> None:
    [reasons] = model.reasons(History.of([0, 4, 2], 1.0, [1.0, 2.0, 3.0]), np.array([4]))

    assert [(reason.item, reason.feature) for reason in reasons] == [(4, ""), (None, "popularity"), (0, ""), (2, "")]
    assert [reason.share for reason in reasons] == pytest.approx(
        [LIKELY - UNLIKELY, 1 / 4, UNLIKELY - 1 / 4, UNLIKELY - LIKELY]
    )


def test_a_shelf_of_reasons_takes_one_run(model: Sequential, echo: Echo) -> None:
    reasons = model.reasons(History.of([0, 4]), np.arange(N_ITEMS))

    assert len(echo.asked) == 1
    assert reasons[1] == ()


def test_an_empty_history_is_not_run(model: Sequential, echo: Echo) -> None:
    scores = model.scores([History.of([]), History.of([])])

    assert not scores.any()
    assert echo.asked == []


def test_logits_beyond_what_exponentials_hold_are_chances_all_the_same(echo: Echo) -> None:
    model = Sequential(echo, 1000 * np.eye(4), np.arange(4), 3, 4)

    [scores] = model.scores([History.of([1])])

    assert scores.tolist() == [0, 1, 0, 0]
