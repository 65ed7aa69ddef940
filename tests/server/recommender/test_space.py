"""A space with a graph finds almost what looking at every vector finds, and never less, nor what is not allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.recommender.embeddings import unit_rows
from cuelight.server.recommender.retrieval.space import Space

LENGTH = 24


def clustered(seed: int, count: int) -> NDArray[np.float32]:
    """Vectors around a hundred centres, as items of a few kinds are."""
    centres = np.random.default_rng(0).standard_normal((100, LENGTH), dtype=np.float32)
    generator = np.random.default_rng(seed)
    around = 0.4 * generator.standard_normal((count, LENGTH), dtype=np.float32)
    return unit_rows(centres[generator.integers(0, 100, count)] + around)


def let_follow(space: Space) -> None:
    """Do what is due for the graph."""
    while work := space.graph_work():
        work.carry_out()
    while space.step():
        pass


def recall(space: Space, queries: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None) -> float:
    """Return which share of the exact answers is found; the rest of what is promised is asserted."""
    found, _ = space.search(queries, n, allowed, exact=False)
    true, looked_at_all = space.search(queries, n, allowed, exact=True)
    assert looked_at_all
    hit = 0
    for some, best in zip(found, true, strict=True):
        assert len(set(some.places.tolist())) == len(some.places) == len(best.places)
        assert allowed is None or allowed[some.places].all()
        assert (np.diff(some.cosines) <= 0).all()
        hit += len(np.intersect1d(some.places, best.places))
    total = sum(len(best.places) for best in true)
    return hit / total if total else 1.0


@pytest.fixture(scope="module")
def large() -> Space:
    space = Space("text", LENGTH, graph_from=5000)
    space.put(np.arange(0, 12_000, 2), clustered(1, 6000))
    let_follow(space)
    return space


@pytest.mark.parametrize("share", [None, 0.9, 0.3, 0.02, 0.0])
@pytest.mark.parametrize("n", [1, 10, 200])
def test_almost_all_are_found_whatever_the_filter_leaves(large: Space, share: float | None, n: int) -> None:
    allowed = None if share is None else np.random.default_rng(5).random(12_000) < share

    assert recall(large, clustered(2, 64), n, allowed) >= 0.99
    _, looked_at_all = large.search(clustered(2, 64), n, allowed, exact=False)
    assert looked_at_all == (share in {0.02, 0.0}), "a graph that is never asked proves nothing"


def test_what_changes_is_found_before_the_graph_knows_and_after() -> None:
    space = Space("text", LENGTH, graph_from=1000)
    space.put(np.arange(2000), clustered(1, 2000))
    let_follow(space)
    moved = clustered(3, 300)
    space.put(np.arange(1900, 2200), moved)
    space.drop(np.arange(100))
    for _ in range(2):
        found, looked_at_all = space.search(moved, 1, None, exact=False)
        assert not looked_at_all
        assert [hits.places.tolist() for hits in found] == [[place] for place in range(1900, 2200)]
        gone, _ = space.search(clustered(1, 100), 5, None, exact=False)
        assert all((hits.places >= 100).all() for hits in gone)
        assert recall(space, clustered(4, 64), 10, None) >= 0.99
        let_follow(space)


def test_while_a_graph_is_far_behind_every_vector_is_looked_at() -> None:
    space = Space("text", LENGTH, graph_from=1000)
    space.put(np.arange(2000), clustered(1, 2000))
    assert space.search(clustered(2, 1), 3, None, exact=False)[1]
    let_follow(space)
    assert not space.search(clustered(2, 1), 3, None, exact=False)[1]

    space.put(np.arange(2000, 15_000), clustered(3, 13_000))

    assert space.search(clustered(2, 1), 3, None, exact=False)[1]
    let_follow(space)
    assert not space.search(clustered(2, 1), 3, None, exact=False)[1]
    assert recall(space, clustered(2, 64), 10, None) >= 0.99


def test_a_space_that_shrinks_or_whose_graph_finds_too_little_is_exact() -> None:
    space = Space("text", LENGTH, graph_from=1000)
    space.put(np.arange(1200), clustered(1, 1200))
    let_follow(space)
    space.drop(np.arange(100, 1200))
    let_follow(space)
    assert space.search(clustered(2, 1), 3, None, exact=False)[1]

    # Copies of three vectors: no graph leads to the ones in the lowest places.
    space.put(np.arange(4000), np.resize(clustered(3, 3), (4000, LENGTH)))
    let_follow(space)
    [hits], looked_at_all = space.search(clustered(3, 1), 3, None, exact=False)
    assert (hits.places.tolist(), looked_at_all) == ([0, 3, 6], True)


places = st.lists(st.integers(0, 59), min_size=1, max_size=40, unique=True)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "drop", "follow"]), places, st.integers(0, 99)), max_size=10),
    st.integers(1, 30),
    st.booleans(),
)
def test_after_any_changes_nothing_is_short_or_leaks(
    steps: list[tuple[str, list[int], int]], n: int, filtered: bool
) -> None:
    space = Space("text", LENGTH, graph_from=10)
    known = set[int]()
    for what, at, seed in steps:
        if what == "put":
            space.put(np.array(at), clustered(seed, len(at)))
            known |= set(at)
        elif what == "drop":
            space.drop(np.array(at))
            known -= set(at)
        else:
            let_follow(space)
        allowed = np.random.default_rng(seed).random(55) < 0.6 if filtered else None

        found, _ = space.search(clustered(seed + 1, 3), n, allowed, exact=False)

        may = known if allowed is None else {place for place in known if place < 55 and allowed[place]}
        for hits in found:
            assert set(hits.places.tolist()) <= may
            assert len(set(hits.places.tolist())) == len(hits.places) == min(n, len(may))
