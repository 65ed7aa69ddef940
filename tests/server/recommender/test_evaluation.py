"""Splits, figures and the table, on data small enough to reckon by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from cuelight.server.recommender.evaluation.metrics import coverage, diversity, ndcg, novelty, recall
from cuelight.server.recommender.evaluation.protocol import evaluate
from cuelight.server.recommender.evaluation.split import leave_last_out, per_user_split
from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.history import History
from cuelight.server.recommender.model_names import MODEL_NAMES
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.ranking import top
from tests.server.recommender.tables import checkerboard, parity_features
from tests.server.recommender.tiny_sequential import sequential_of_the_checkerboard


def hits(*places: int, length: int = 20) -> np.ndarray:
    return np.isin(np.arange(length), places)


@pytest.mark.parametrize(
    ("hit_places", "n_relevant", "expected"),
    [
        ((), 3, 0.0),
        ((0,), 1, 1.0),
        ((1,), 1, 1 / math.log2(3)),
        ((0, 2), 2, (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        ((10,), 1, 0.0),
        (tuple(range(10)), 30, 1.0),
    ],
    ids=["none", "first", "second", "first and third", "below the depth", "more relevant than places"],
)
def test_ndcg(hit_places: tuple[int, ...], n_relevant: int, expected: float) -> None:
    assert ndcg(hits(*hit_places), n_relevant) == pytest.approx(expected)


def test_ndcg_of_a_list_shorter_than_its_depth() -> None:
    assert ndcg(hits(0, length=3), 1) == 1.0


def test_recall_counts_all_that_is_relevant() -> None:
    assert recall(hits(0, 19), 8) == 2 / 8


def test_coverage_diversity_and_novelty() -> None:
    lists = [np.array([0, 1]), np.array([1, 2])]
    features = ItemFeatures(csr_array(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])), ("a", "b"))

    assert coverage(lists, 4) == 3 / 4
    assert diversity(lists, features) == (0 + 1) / 2
    assert novelty(lists, np.array([8, 4, 0, 9]), 8) == ((0 + 1) / 2 + (1 + 3) / 2) / 2


def test_the_split_is_that_of_the_issue_to_the_pair() -> None:
    liked = [History.of(np.arange(n) * 2) for n in (4, 5, 11)]
    generator = np.random.default_rng(42)
    expected = [sorted((generator.permutation(n)[: n // 5] * 2).tolist()) for n in (4, 5, 11)]

    split = per_user_split(liked, 30)

    assert [held_out.tolist() for held_out in split.held_out] == expected
    for user, row in enumerate(liked):
        together = np.union1d(split.known.row(user).items, split.held_out[user])
        assert together.tolist() == row.items.tolist()
        assert split.known.row(user).user == user


def test_the_last_item_is_left_out_and_the_only_one_is_kept() -> None:
    split = leave_last_out([History.of([4, 2, 9], 1.0, [5.0, 7.0, 7.0]), History.of([3]), History.of([])], 10)

    assert [held_out.tolist() for held_out in split.held_out] == [[9], [], []]
    assert split.known.row(0).items.tolist() == [2, 4]
    assert split.known.row(1).items.tolist() == [3]


@given(arrays(float, st.integers(1, 30), elements=st.sampled_from([0.0, 1.0, 2.5, -1.0])), st.integers(0, 40))
def test_top_is_the_head_of_a_stable_sort(scores: np.ndarray, n: int) -> None:
    allowed = np.arange(len(scores)) % 3 != 1

    expected = [place for place in np.argsort(-scores, kind="stable") if allowed[place]][:n]

    assert top(scores, n, allowed).tolist() == expected
    assert top(scores, n).tolist() == np.argsort(-scores, kind="stable")[:n].tolist()


def test_on_a_checkerboard_a_good_model_finds_most_and_popularity_does_not() -> None:
    table = checkerboard(40)
    split = per_user_split([table.row(user) for user in range(40)], 40)
    settings = ModelSettings(ease_regularization=1.0, shrinkage=0.0, als_factors=2, als_regularization=0.1)

    told: list[str] = []
    figures = evaluate(
        split, parity_features(40), MODEL_NAMES, settings, told.append, lambda known: sequential_of_the_checkerboard(40)
    )

    assert told == list(MODEL_NAMES) == [figure.model for figure in figures]
    by_name = {figure.model: figure for figure in figures}
    assert by_name["popularity"].recall_20 < 0.9
    assert min(by_name["ease"].recall_20, by_name["als"].recall_20) > 0.95
    assert by_name["ease"].users == 40
    assert math.isnan(by_name["ease"].cold_recall_20)
