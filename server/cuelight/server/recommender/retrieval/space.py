r"""One space of embeddings: an exact index of all vectors, and in large spaces a graph beside it.

    up to 200,000 vectors    exact
    above                    the graph proposes, true products decide; exact where a filter leaves few, where the graph
                             proposes too little, where the call asks for it, and where the graph is far behind

The graph is built by another thread, from vectors as they were, and then lags behind what is told: what changed since
is *fresh*, looked at one by one in each search, and taken into the graph a few at a time between searches. If more is
fresh than a search can look at, the graph goes back to the other thread until it has caught up.

    none -> building -> measured -> serving <-> building     building: another thread owns it, searches are exact
                            \-> none, until there are twice as many vectors: it would have to be walked too far
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.embeddings import unit_rows
from cuelight.server.recommender.retrieval.exact_index import ExactIndex
from cuelight.server.recommender.retrieval.graph_index import RECALL, GraphIndex
from cuelight.server.recommender.retrieval.index import Hits

__all__ = ["GRAPH_FROM", "GraphWork", "Space"]

GRAPH_FROM = 200_000
"""Vectors; up to here looking at all of them is fast enough."""
_FRESH_AT_MOST = 10_000
_TAKEN_IN_AT_ONCE = 32
_HELD_OUT = 128
"""Vectors that are taken in last, and asked for before that, to measure how much is found."""
_MEASURED_N = 10
_BUILT_AT_ONCE = 20_000
_EXACT_BELOW_SHARE = 0.1
"""Of the items that a filter leaves."""
_MORE = 2
_AND_SOME = 20
_SEED = 0


class GraphWork(Protocol):
    """Something to do for a graph on another thread."""

    def carry_out(self) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """Changes that a graph is to take in: see `GraphIndex.replace`."""

    graph: GraphIndex
    places: NDArray[np.int64]
    known: NDArray[np.bool_]
    vectors: NDArray[np.float32]

    def carry_out(self) -> None:
        """Take them in."""
        self.graph.replace(self.places, self.known, self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class _Measurement:
    """Queries and what is nearest to each, for a graph to be measured by: see `GraphIndex.measure`."""

    graph: GraphIndex
    queries: NDArray[np.float32]
    nearest: list[NDArray[np.int64]]

    def carry_out(self) -> None:
        """Measure."""
        self.graph.measure(self.queries, _proposed(_MEASURED_N), self.nearest)


class Space:
    """The vectors of one space, at length 1. One thread owns it."""

    def __init__(self, name: str, length: int, graph_from: int = GRAPH_FROM) -> None:
        self.name = name
        self.index = ExactIndex(length)
        self._graph_from = graph_from
        self._graph: GraphIndex | None = None
        self._serving = False
        self._refused_at = 0
        self._fresh: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self.index)

    def put(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set the vectors (n, d) of items; none is all 0."""
        self.index.upsert(places, unit_rows(vectors))
        self._changed(places.tolist())

    def drop(self, places: NDArray[np.int64]) -> None:
        """Drop the vectors of items."""
        self.index.delete(places)
        self._changed(places.tolist())

    def search(
        self, queries: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None, exact: bool
    ) -> tuple[list[Hits], bool]:
        """Return the nearest to each query (q, d), and whether every item was looked at."""
        share = 1.0 if allowed is None else np.count_nonzero(allowed) / max(len(allowed), 1)
        if exact or not self._serving or len(self._fresh) > _FRESH_AT_MOST or share < _EXACT_BELOW_SHARE:
            return self.index.search(queries, n, allowed), True
        assert self._graph is not None
        hits = self._by_graph(self._graph, queries, n, int(_proposed(n) / share), allowed)
        short = [i for i, found in enumerate(hits) if len(found.places) < n]
        if short:
            for i, found in zip(short, self.index.search(queries[short], n, allowed), strict=True):
                hits[i] = found
        return hits, len(short) == len(hits)

    def step(self) -> bool:
        """Bring the graph that serves a step nearer to what is told, and say whether there was something to do."""
        if self._graph is None or not self._serving or not self._fresh or len(self._fresh) > _FRESH_AT_MOST:
            return False
        self._changes(self._graph, _TAKEN_IN_AT_ONCE).carry_out()
        return True

    def graph_work(self) -> GraphWork | None:
        """Return what another thread is to do for the graph, and then call again; None for nothing.

        In between the graph does not serve.
        """
        if self._graph is not None and len(self.index) <= self._graph_from // 2:
            self._give_up()
        if self._graph is None and len(self.index) > max(self._graph_from, 2 * self._refused_at):
            self._graph = GraphIndex(self.index.length)
            in_any_order = np.random.default_rng(_SEED).permutation(self.index.places)
            self._fresh = dict.fromkeys(in_any_order.tolist())
        if self._graph is None or (self._serving and len(self._fresh) <= _FRESH_AT_MOST):
            return None
        if self._serving:
            self._serving, self._graph.recall = False, None
        if len(self._fresh) > _HELD_OUT:
            return self._changes(self._graph, min(_BUILT_AT_ONCE, len(self._fresh) - _HELD_OUT))
        if self._graph.recall is None:
            return self._measurement(self._graph)
        self._serving = self._graph.recall >= RECALL
        if not self._serving:
            self._refused_at = len(self.index)
            self._give_up()
        return None

    def _by_graph(
        self, graph: GraphIndex, queries: NDArray[np.float32], n: int, count: int, allowed: NDArray[np.bool_] | None
    ) -> list[Hits]:
        of, places = graph.propose(queries, count)
        fresh = np.fromiter(self._fresh, np.int64, len(self._fresh))
        if len(fresh):
            old = ~np.isin(places, fresh)
            of, places = of[old], places[old]
        return self.index.nearest_of(queries, n, (of, places), fresh, allowed)

    def _changed(self, places: Iterable[int]) -> None:
        if self._graph is not None:
            self._fresh.update(dict.fromkeys(places))

    def _give_up(self) -> None:
        self._graph, self._serving, self._fresh = None, False, {}

    def _measurement(self, graph: GraphIndex) -> _Measurement:
        """Return what is nearest to vectors that the graph does not have, of those that it has."""
        held_out = [place for place in self._fresh if self.index.has(place)]
        queries = self.index.vectors_of(np.array(held_out, np.int64))
        found = self.index.search(queries, _MEASURED_N + len(self._fresh))
        fresh = np.fromiter(self._fresh, np.int64, len(self._fresh))
        nearest = [hits.places[~np.isin(hits.places, fresh)][:_MEASURED_N] for hits in found]
        return _Measurement(graph, queries, nearest)

    def _changes(self, graph: GraphIndex, at_most: int) -> _Changes:
        """Return the oldest of what is fresh, which is fresh no longer."""
        places = np.fromiter(self._fresh, np.int64, len(self._fresh))[:at_most]
        for place in places.tolist():
            del self._fresh[place]
        known = np.array([self.index.has(place) for place in places.tolist()], np.bool_)
        return _Changes(graph, places, known, self.index.vectors_of(places[known]))


def _proposed(n: int) -> int:
    """Return how many are to be proposed for n that are wanted: what 8 bits have rounded away comes back."""
    return _MORE * n + _AND_SOME
