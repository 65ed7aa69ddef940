"""Each model against its formula, written out for one pair at a time."""

import numpy as np
import pytest

from cuelight.server.errors import InvalidRequest, ModelNotFound
from cuelight.server.recommender.embeddings import SpaceVectors, VectorTable
from cuelight.server.recommender.features import ItemAttributes, ItemFeatures, words_of
from cuelight.server.recommender.gram import Gram
from cuelight.server.recommender.history import History
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.model_set import ModelSet
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.models.content_cosine import ContentCosine
from cuelight.server.recommender.models.ease import Ease
from cuelight.server.recommender.models.item_cosine import ItemCosine
from cuelight.server.recommender.models.popularity import Popularity
from cuelight.server.recommender.models.user_cosine import UserCosine
from tests.server.recommender.tables import random_table, some_features

DAY_S = 86_400.0


def test_popularity_is_the_share_of_all_weights() -> None:
    table = InteractionTable(3, [History.of([0, 1]), History.of([0]), History.of([0], 2.0)])

    [scores] = Popularity.fit(table).scores([History.of([2])])

    assert scores.tolist() == [4 / 5, 1 / 5, 0]


def test_a_like_counts_half_after_a_half_life() -> None:
    table = InteractionTable(2, [History.of([0], 1.0, 1000 * DAY_S), History.of([1], 1.0, 1010 * DAY_S)])

    [scores] = Popularity.fit(table, half_life_s=10 * DAY_S).scores([History.of([])])

    assert scores.tolist() == pytest.approx([1 / 3, 2 / 3])


def test_popularity_of_centuries_does_not_overflow() -> None:
    table = InteractionTable(2)
    model = Popularity.fit(table, half_life_s=DAY_S)
    for day in range(0, 200_000, 400):
        model.learn([table.replace(day, History.of([0, 1], 1.0, [day * DAY_S, (day + 1) * DAY_S]))])

    assert model.scores([History.of([])])[0].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_ease_solves_its_least_squares_problem() -> None:
    table = random_table()
    x = table.matrix().toarray()
    regularization = 3.0
    expected = np.zeros((table.n_items, table.n_items))
    for j in range(table.n_items):
        others = np.delete(np.arange(table.n_items), j)
        normal = x[:, others].T @ x[:, others] + regularization * np.eye(len(others))
        expected[others, j] = np.linalg.solve(normal, x[:, others].T @ x[:, j])

    scores = Ease(Gram.fit(table, regularization)).scores([table.row(user) for user in range(len(table))])

    np.testing.assert_allclose(scores, x @ expected, atol=1e-12)


@pytest.mark.parametrize("neighbours", [1, 4, 100])
def test_item_cosine_sums_over_neighbours(neighbours: int) -> None:
    table = random_table()
    x = table.matrix().toarray()
    similarity = np.array([[_cosine(x[:, i], x[:, j], 2.0) for j in range(12)] for i in range(12)])
    np.fill_diagonal(similarity, 0)
    for j in range(12):
        least = np.sort(similarity[:, j])[::-1][:neighbours][-1]
        similarity[similarity[:, j] < least, j] = 0

    scores = ItemCosine(Gram.fit(table, 1.0), neighbours, 2.0).scores([table.row(user) for user in range(30)])

    np.testing.assert_allclose(scores, x @ similarity, atol=1e-12)


@pytest.mark.parametrize("neighbours", [1, 7, 100])
def test_user_cosine_sums_over_neighbours_other_than_oneself(neighbours: int) -> None:
    table = random_table()
    x = table.matrix().toarray()
    similarity = np.array([[_cosine(x[u], x[v], 2.0) * (u != v) for v in range(30)] for u in range(30)])
    for u in range(30):
        least = np.sort(similarity[u])[::-1][:neighbours][-1]
        similarity[u, similarity[u] < least] = 0

    scores = UserCosine(table, neighbours, 2.0).scores([table.row(user) for user in range(30)])

    np.testing.assert_allclose(scores, similarity @ x, atol=1e-12)


def test_als_folds_in_as_implicit_does() -> None:
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415
    from scipy.sparse import csr_matrix  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    table = random_table()
    rows = csr_matrix(table.matrix(), dtype=np.float32)
    with threadpool_limits(1, "blas"):
        theirs = AlternatingLeastSquares(4, regularization=1.0, alpha=2.0, iterations=5, random_state=0, num_threads=1)
        theirs.fit(rows, show_progress=False)
    expected = theirs.recalculate_user(np.arange(30), rows)

    ours = ImplicitAls.fit(table, 4, 1.0, 2.0, 5).user_vectors([table.row(user) for user in range(30)])

    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_pair_of_users_is_as_similar_as_among_all() -> None:
    table = random_table()
    model = UserCosine(table, 5, 10.0)
    rows = [table.row(user) for user in range(len(table))]

    among_all = model.similarities(rows)

    for first, row in enumerate(rows):
        pairs = [model.similarity(row, other) for other in rows]
        np.testing.assert_allclose(np.delete(pairs, first), np.delete(among_all[first], first), rtol=1e-12)


def test_content_is_the_mean_similarity_and_its_features_add_up_too() -> None:
    features = some_features(12)
    model = ContentCosine(features)
    history = History.of([2, 9], [1.0, 3.0])
    similarities = features.between(np.arange(12), np.arange(12))

    [scores] = model.scores([history])

    np.testing.assert_allclose(scores, (similarities[2] + 3 * similarities[9]) / 4, atol=1e-12)
    for item in range(12):
        reasons = model.feature_reasons(history, item)
        assert sum(reason.share for reason in reasons) == pytest.approx(scores[item])


def test_blocks_of_features_weigh_the_same() -> None:
    features = ItemFeatures.of(
        [ItemAttributes("Night", ("x", "y")), ItemAttributes("Day", ("x", "y")), ItemAttributes("Night")],
        embeddings={"text": SpaceVectors(np.arange(3), np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]], np.float32))},
    )

    similarity = features.between(np.arange(3), np.arange(3))

    np.testing.assert_allclose(similarity, [[1, 1 / 3, 2 / 3], [1 / 3, 1, 0], [2 / 3, 0, 2 / 3]], atol=1e-12)


def test_an_item_is_like_itself_by_as_many_blocks_as_know_it() -> None:
    """Of four blocks, tags, titles, texts and sounds: item 2 has no text, items 1 and 7 alone have a sound."""
    features = some_features(12)

    own = features.between(np.arange(12), np.arange(12)).diagonal()

    np.testing.assert_allclose(own, [1 if i in {1, 7} else 0.5 if i == 2 else 0.75 for i in range(12)], atol=1e-12)


def test_similarity_by_embeddings_alone_is_their_cosine() -> None:
    told = SpaceVectors(np.array([3, 0, 1]), np.array([[3, 4], [1e-30, 0], [-2e20, 0]], np.float32))
    features = ItemFeatures.of([ItemAttributes()] * 4, {"text": told, "empty": VectorTable.empty(2).seen()})

    similarity = features.between(np.array([0]), np.arange(4))

    np.testing.assert_allclose(similarity, [[1, -1, 0, 0.6]], atol=1e-12)


@pytest.mark.parametrize(
    ("title", "words"),
    [("Toy Story (1995)", ["toy", "story"]), ("2001: A Space Odyssey", ["2001", "a", "space", "odyssey"]), ("", [])],
)
def test_words_of_a_title(title: str, words: list[str]) -> None:
    assert words_of(title) == words


def test_a_blend_weighs_scores() -> None:
    table = random_table()
    models = ModelSet(table, some_features(table.n_items))
    history = [table.row(3)]

    blended = models.blend({"ease": 0.5, "popularity": -2.0}).scores(history)

    np.testing.assert_allclose(
        blended, 0.5 * models.get("ease").scores(history) - 2 * models.get("popularity").scores(history)
    )


@pytest.mark.parametrize("weights", [{}, {"hybrid": 1.0}, {"ease": float("nan")}], ids=["none", "itself", "nan"])
def test_a_blend_of_nothing_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match="blend"):
        ModelSet(random_table(), some_features(12)).blend(weights)


def test_a_model_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ModelNotFound, match=r'"sasrec".*ease'):
        ModelSet(random_table(), some_features(12)).get("sasrec")


def _cosine(a: np.ndarray, b: np.ndarray, shrinkage: float) -> float:
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b) + shrinkage))
