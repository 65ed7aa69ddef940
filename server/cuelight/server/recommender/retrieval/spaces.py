"""All spaces of embeddings: questions in the callers' ids, answered together where they ask alike."""

from collections.abc import Mapping, Sequence, Set
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import CuelightError, InvalidRequest, ItemNotFound, NotFound
from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.embeddings import ItemEmbeddings, SpaceVectors, Vector, unit_rows
from cuelight.server.recommender.retrieval.index import Hits
from cuelight.server.recommender.retrieval.questions import Nearest, NearestQuestion
from cuelight.server.recommender.retrieval.space import GRAPH_FROM, GraphWork, Space

__all__ = ["Spaces"]

_NAMES_SHOWN = 10
_ANY_EVEN_UNAVAILABLE = ItemFilter(include_unavailable=True)


class Spaces:
    """Spaces, and of their items the ids and which are available. One thread owns it, the one that searches."""

    def __init__(
        self,
        ids: Mapping[int, str],
        unavailable: Set[int],
        embeddings: Mapping[str, SpaceVectors],
        graph_from: int = GRAPH_FROM,
    ) -> None:
        """Take in what is stored: ids by place, places that are not available, and vectors by space.

        Spaces of more than `graph_from` vectors get a graph.
        """
        self._graph_from = graph_from
        self._places: dict[str, int] = {}
        self._spaces: dict[str, Space] = {}
        self._unavailable: set[int] = set()
        for name, told in embeddings.items():
            space = self._spaces[name] = Space(name, told.vectors.shape[1], graph_from)
            space.put(told.places, told.vectors)
            for place in told.places.tolist():
                self._places[ids[place]] = place
            self._unavailable |= unavailable & set(told.places.tolist())
        width = max(self._places.values(), default=-1) + 1
        self._ids = [ids.get(place, "") for place in range(width)]
        self._available = np.ones(width, np.bool_)
        self._available[list(self._unavailable)] = False

    def learn(self, changed: Mapping[int, ItemEmbeddings | None]) -> None:
        """Set all embeddings anew of the items in some places; None where one was deleted."""
        told: dict[str, list[int]] = {}
        for place, item in changed.items():
            if item is None or not item.vectors:
                self._unavailable.discard(place)
                continue
            self._know(place, item.item, item.available)
            for name in item.vectors:
                told.setdefault(name, []).append(place)
        for name, space in self._spaces.items():
            space.drop(np.array(list(changed.keys() - set(told.get(name, ()))), np.int64))
        for name, places in told.items():
            vectors = np.stack([item.vectors[name] for place in places if (item := changed[place])])
            self._space_for(name, vectors.shape[1]).put(np.array(places, np.int64), vectors)
        self._spaces = {name: space for name, space in self._spaces.items() if len(space)}

    def answer(self, questions: Sequence[NearestQuestion]) -> list[Nearest | Exception]:
        """Return an answer, or what is wrong with the question, for each; those that ask alike are searched at once."""
        answers: list[Nearest | Exception] = [InvalidRequest("not asked")] * len(questions)
        groups: dict[tuple[str, ItemFilter, bool], list[tuple[int, list[Vector]]]] = {}
        for i, question in enumerate(questions):
            try:
                space = self._space(question.space)
                queries = [self._query(space, query, at) for at, query in enumerate(question.queries)]
                groups.setdefault((space.name, question.conditions, question.exact), []).append((i, queries))
            except CuelightError as error:
                answers[i] = error
        for (name, _, exact), members in groups.items():
            asked = [questions[i] for i, _ in members]
            queries = [query for _, queries in members for query in queries]
            # Of several masks of the same conditions the last is the newest; all are newer than their questions.
            hits, looked_at_all = self._spaces[name].search(
                unit_rows(np.concatenate(queries).reshape(len(queries), -1)),
                max(question.n for question in asked) + 1,
                self._mask(asked[-1]),
                exact,
            )
            left = iter(hits)
            for question, (i, queries) in zip(asked, members, strict=True):
                answers[i] = Nearest(self._lists(question, list(islice(left, len(queries)))), looked_at_all)
        return answers

    def step(self) -> bool:
        """Bring graphs that serve a step nearer to what is told, and say whether there was something to do."""
        return sum(space.step() for space in self._spaces.values()) > 0

    def graph_work(self) -> GraphWork | None:
        """Return something to do on another thread for a graph, and then call again; None for nothing."""
        return next((work for space in self._spaces.values() if (work := space.graph_work())), None)

    def _lists(self, question: NearestQuestion, hits: Sequence[Hits]) -> tuple[tuple[tuple[str, float], ...], ...]:
        lists = []
        for query, found in zip(question.queries, hits, strict=True):
            items = map(self._ids.__getitem__, found.places.tolist())
            near = zip(items, found.cosines.tolist(), strict=True)
            others = [entry for entry in near if entry[0] != query] if isinstance(query, str) else list(near)
            lists.append(tuple(others[: question.n]))
        return tuple(lists)

    def _mask(self, question: NearestQuestion) -> NDArray[np.bool_] | None:
        if question.allowed is not None:
            return question.allowed
        if question.conditions == _ANY_EVEN_UNAVAILABLE or not self._unavailable:
            return None
        return self._available

    def _query(self, space: Space, query: NDArray[np.float32] | str, at: int) -> NDArray[np.float32]:
        if not isinstance(query, str):
            if len(query) != space.index.length:
                raise InvalidRequest(
                    f'queries[{at}]: embedding: expected {space.index.length} numbers as space "{space.name}" has, '
                    f"got {len(query)}"
                )
            return query
        place = self._places.get(query)
        if place is None or not space.index.has(place):
            raise ItemNotFound(f'item "{query}": it has no embedding in space "{space.name}"')
        vector: Vector = space.index.vectors_of(np.array([place]))[0]
        return vector

    def _space(self, name: str) -> Space:
        if not name and len(self._spaces) > 1:
            raise InvalidRequest(f"space: expected one of {self._names()}, got none")
        space = next(iter(self._spaces.values()), None) if not name else self._spaces.get(name)
        if space is None:
            there = f"there are {self._names()}" if self._spaces else "no item has an embedding"
            raise NotFound(f'space "{name}": {there}')
        return space

    def _names(self) -> str:
        first, others = sorted(self._spaces)[:_NAMES_SHOWN], len(self._spaces) - _NAMES_SHOWN
        return ", ".join(f'"{name}"' for name in first) + (f" and {others} more" if others > 0 else "")

    def _space_for(self, name: str, length: int) -> Space:
        space = self._spaces.get(name)
        if space is None or not len(space) or space.index.length != length:
            space = self._spaces[name] = Space(name, length, self._graph_from)
        return space

    def _know(self, place: int, item: str, available: bool) -> None:
        self._places[item] = place
        if place >= len(self._ids):
            self._ids += [""] * (place + 1 - len(self._ids))
        self._ids[place] = item
        if place >= len(self._available):
            room = np.ones(max(place + 1, len(self._available) * 3 // 2), np.bool_)
            room[: len(self._available)] = self._available
            self._available = room
        self._available[place] = available
        (self._unavailable.discard if available else self._unavailable.add)(place)
