"""What holds for every model: `Scorer`, as its docstrings have it."""

import numpy as np
import pytest

from cuelight.server.recommender.history import NOBODY, History
from cuelight.server.recommender.model_names import MODEL_NAMES
from cuelight.server.recommender.model_set import ModelSet, ModelSettings
from cuelight.server.recommender.models.scorer import Scorer
from cuelight.server.recommender.ranking import top
from tests.server.recommender.tables import checkerboard, parity_features, random_table, some_features
from tests.server.recommender.tiny_sequential import random_sequential, sequential_of_the_checkerboard

SETTINGS = ModelSettings(neighbours=5, ease_regularization=2.0, als_factors=4, als_regularization=1.0)
EVERY = pytest.mark.parametrize("name", MODEL_NAMES)
KNOWS_THE_USER_BY_HISTORY = pytest.mark.parametrize("name", [name for name in MODEL_NAMES if name != "popularity"])


def fitted(name: str, settings: ModelSettings = SETTINGS) -> tuple[Scorer, ModelSet]:
    table = random_table()
    models = ModelSet(table, some_features(table.n_items), settings)
    if name == "sequential":
        models.put(name, random_sequential())
    return models.get(name), models


@EVERY
def test_every_item_has_a_finite_score_for_every_history(name: str) -> None:
    model, models = fitted(name)

    scores = model.scores([models.table.row(0), NOBODY, History.of([3, 1])])

    assert scores.shape == (3, models.table.n_items)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


@EVERY
def test_a_history_scores_alone_as_among_others(name: str) -> None:
    model, models = fitted(name)
    histories = [models.table.row(user) for user in range(len(models.table))]

    together = model.scores(histories)

    for history, row in zip(histories, together, strict=True):
        np.testing.assert_allclose(model.scores([history])[0], row, atol=1e-12)


@EVERY
def test_no_history_is_no_score(name: str) -> None:
    model, models = fitted(name)

    assert model.scores([]).shape == (0, models.table.n_items)


@EVERY
@pytest.mark.parametrize("weights", [1.0, [0.5, 3.0, 1.0]], ids=["alike", "weighted"])
def test_the_shares_of_the_reasons_add_up_to_the_score(name: str, weights: float | list[float]) -> None:
    model, models = fitted(name)
    history = History.of([7, 2, 5], weights)

    [scores] = model.scores([history])

    for item, reasons in enumerate(model.reasons(history, np.arange(models.table.n_items))):
        assert sum(reason.share for reason in reasons) == pytest.approx(scores[item], abs=1e-12)
        assert [reason.share for reason in reasons] == sorted((reason.share for reason in reasons), reverse=True)


@EVERY
def test_a_reason_is_in_the_history_or_is_a_named_property(name: str) -> None:
    model, models = fitted(name)
    history = models.table.row(4)

    for reasons in model.reasons(history, np.arange(models.table.n_items)):
        for reason in reasons:
            assert reason.share != 0
            assert (reason.item in history.items) if reason.item is not None else reason.feature


@KNOWS_THE_USER_BY_HISTORY
def test_nobody_scores_nothing_for_no_reason(name: str) -> None:
    model, models = fitted(name)

    assert not model.scores([NOBODY]).any()
    assert model.reasons(NOBODY, np.arange(models.table.n_items)) == [()] * models.table.n_items


@KNOWS_THE_USER_BY_HISTORY
def test_the_missing_square_of_a_checkerboard_comes_first(name: str) -> None:
    table = checkerboard()
    settings = ModelSettings(ease_regularization=1.0, shrinkage=0.0, als_factors=2, als_regularization=0.1)
    models = ModelSet(table, parity_features(table.n_items), settings)
    if name == "sequential":
        models.put(name, sequential_of_the_checkerboard())
    model = models.get(name)

    scores = model.scores([table.row(user) for user in range(len(table))])

    for user in range(len(table)):
        unseen = np.ones(table.n_items, np.bool_)
        unseen[table.row(user).items] = False
        assert top(scores[user], 1, unseen) == [user]


@EVERY
def test_an_item_that_comes_later_has_a_place_in_the_scores(name: str) -> None:
    model, models = fitted(name)
    history = models.table.row(0)
    [before] = model.scores([history])

    models.table.widen(models.table.n_items + 2)
    models.describe(some_features(models.table.n_items))
    [after] = models.get(name).scores([history])

    assert after.shape == (len(before) + 2,)
    assert np.isfinite(after).all()
    if name not in {"content_cosine", "hybrid"}:
        np.testing.assert_allclose(after, [*before, 0, 0], atol=1e-12)
