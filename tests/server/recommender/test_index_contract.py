"""What holds for every index of vectors: `VectorIndex`, as its docstrings have it, against looking at every vector."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.recommender.embeddings import unit_rows
from cuelight.server.recommender.retrieval.exact_index import ExactIndex
from cuelight.server.recommender.retrieval.index import Hits

LENGTH = 6
PLACES = 40
TOLERANCE = 1e-6


class Known:
    """The truth: a dictionary, and every product in float64."""

    def __init__(self) -> None:
        self.vectors: dict[int, NDArray[np.float32]] = {}

    def nearest(
        self, query: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float64], dict[int, float]]:
        """Return the n highest cosines, and those of all items that are allowed."""
        cosines = {
            place: float(vector.astype(np.float64) @ query.astype(np.float64))
            for place, vector in self.vectors.items()
            if allowed is None or (place < len(allowed) and allowed[place])
        }
        return np.sort(np.array(list(cosines.values())))[::-1][:n], cosines


def check(hits: Hits, best: NDArray[np.float64], cosines: dict[int, float]) -> None:
    assert len(set(hits.places.tolist())) == len(hits.places) == len(best)
    np.testing.assert_allclose(hits.cosines, best, atol=TOLERANCE)
    np.testing.assert_allclose(hits.cosines, [cosines[place] for place in hits.places.tolist()], atol=TOLERANCE)


def drawn(seed: int, count: int, length: int = LENGTH) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, length), dtype=np.float32))


places = st.lists(st.integers(0, PLACES - 1), min_size=1, max_size=PLACES, unique=True)
steps = st.lists(st.tuples(st.sampled_from(["upsert", "delete", "search"]), places, st.integers(0, 999)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, PLACES + 3), st.integers(1, 5), st.booleans(), st.integers(0, 2))
def test_after_any_changes_the_nearest_of_all_are_found(
    changes: list[tuple[str, list[int], int]], n: int, n_queries: int, filtered: bool, beyond: int
) -> None:
    index, known = ExactIndex(LENGTH), Known()
    for what, at, seed in [*changes, ("search", [0], 7)]:
        if what == "upsert":
            vectors = drawn(seed, len(at))
            index.upsert(np.array(at), vectors)
            known.vectors.update(zip(at, vectors, strict=True))
        elif what == "delete":
            index.delete(np.array(at))
            for place in at:
                known.vectors.pop(place, None)
        else:
            allowed = np.random.default_rng(seed).random(PLACES - 2 + beyond) < 0.5 if filtered else None
            queries = drawn(seed + 1, n_queries)
            for query, hits in zip(queries, index.search(queries, n, allowed), strict=True):
                check(hits, *known.nearest(query, n, allowed))
        assert len(index) == len(known.vectors)


def gaussian(generator: np.random.Generator, n: int) -> NDArray[np.float32]:
    return generator.standard_normal((n, 16), dtype=np.float32)


def alike(generator: np.random.Generator, n: int) -> NDArray[np.float32]:
    """All near to one direction, as the vectors of many models of texts are."""
    return 5 + gaussian(generator, n)


def spiky(generator: np.random.Generator, n: int) -> NDArray[np.float32]:
    """One component dwarfs the others: whole numbers of 8 bits say little of these."""
    vectors = 1e-4 * gaussian(generator, n)
    vectors[:, 3] = 1
    return vectors


def twins(generator: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Three vectors, all the others are copies of them."""
    return np.resize(gaussian(generator, 3), (n, 16))


@pytest.mark.parametrize("make", [gaussian, alike, spiky, twins])
@pytest.mark.parametrize("n", [1, 10, 700])
@pytest.mark.parametrize("share", [None, 0.999, 0.5, 0.02, 0.0])
def test_in_many_vectors_of_any_kind_none_is_missed(
    make: Callable[[np.random.Generator, int], NDArray[np.float32]], n: int, share: float | None
) -> None:
    generator = np.random.default_rng(3)
    vectors = unit_rows(make(generator, 12_345))
    where = generator.permutation(20_000)[: len(vectors)]
    allowed = None if share is None else generator.random(20_000) < share
    index = ExactIndex(vectors.shape[1])
    index.upsert(where, vectors)
    queries = np.concatenate([vectors[:2], unit_rows(make(generator, 31)), unit_rows(gaussian(generator, 2))])

    found = index.search(queries, n, allowed)

    passed = np.ones(len(vectors), np.bool_) if allowed is None else allowed[where]
    truth = queries.astype(np.float64) @ vectors[passed].astype(np.float64).T
    wanted = min(n, int(passed.sum()))
    for hits, row in zip(found, truth, strict=True):
        assert len(set(hits.places.tolist())) == len(hits.places) == wanted
        np.testing.assert_allclose(hits.cosines, np.sort(row)[::-1][:wanted], atol=TOLERANCE)
        assert allowed is None or allowed[hits.places].all()


def test_of_equal_ones_the_lower_place_comes_first() -> None:
    index = ExactIndex(2)
    index.upsert(np.array([9, 4, 7, 1]), np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32))

    [hits] = index.search(np.array([[1, 0]], np.float32), 2)

    assert hits.places.tolist() == [1, 4]
