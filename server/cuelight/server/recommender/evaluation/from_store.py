"""What a store holds, in the order that an evaluation is repeatable in, whatever order it came in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cuelight.server.recommender.embeddings import SpaceVectors
from cuelight.server.recommender.features import ItemAttributes, ItemFeatures
from cuelight.server.recommender.history import History
from cuelight.server.recommender.liking import liked_rows
from cuelight.server.recommender.store.store import Store

__all__ = ["EvaluationData", "evaluation_data", "in_order"]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """`liked` of the users who like anything, by id; `features` of all items, by id. Places are those of this order."""

    liked: Sequence[History]
    features: ItemFeatures

    @property
    def n_items(self) -> int:
        """How many items there are, liked or not."""
        return int(self.features.matrix.shape[0])


def evaluation_data(store: Store, min_value: float) -> EvaluationData:
    """Read likes and attributes."""
    items = in_order(store.items)
    place_of = np.zeros(len(items), np.int64)
    place_of[[store.items[item] for item in items]] = np.arange(len(items))
    rows = liked_rows(store, min_value)
    ordered = [rows[store.users[user]] for user in in_order(store.users)]
    liked = [
        History.of(place_of[row.items], row.weights, row.times_s, user)
        for user, row in enumerate(row for row in ordered if len(row))
    ]
    attributes = store.attributes()
    known = [attributes[store.items[item]] or ItemAttributes() for item in items]
    embeddings = {
        space: SpaceVectors(place_of[told.places], told.vectors) for space, told in store.embeddings().items()
    }
    return EvaluationData(liked, ItemFeatures.of(known, embeddings))


def in_order(ids: Iterable[str]) -> list[str]:
    """Return ids in ascending order: as numbers where all of them are whole numbers, as text otherwise."""
    listed = list(ids)
    if all(name.isascii() and name.isdigit() for name in listed):
        return sorted(listed, key=lambda name: (int(name), name))
    return sorted(listed)
