"""From scores to a shelf: who may be on it, in which order, and why."""

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.catalogue import Catalogue
from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.scorer import Scorer
from cuelight.server.recommender.names import Names
from cuelight.server.recommender.ranking import diverse, top
from cuelight.server.recommender.shelves import Recommendation, Shelf, ShelfOptions, ShownReason

__all__ = ["ShelfMaker"]

_POOL = 5
"""A diverse shelf is chosen from so many times as many items as it holds."""


class ShelfMaker:
    """Makes shelves of one state of items and models, of which `version` is the number of the last event."""

    def __init__(self, catalogue: Catalogue, features: ItemFeatures, items: Names, version: int) -> None:
        self._catalogue = catalogue
        self._features = features
        self._items = items
        self._version = version

    def shelf(self, model: Scorer, history: History, scores: NDArray[np.float64], options: ShelfOptions) -> Shelf:
        """Return the shelf of somebody with a history, to whom a model gave `scores` (items,)."""
        allowed = self._catalogue.allowed(options.conditions)
        if not options.include_seen:
            allowed[history.items] = False
        places = top(scores, options.n * (_POOL if options.diversity else 1), allowed)
        if options.diversity:
            places = diverse(places, scores, self._features.matrix, options.n, options.diversity)
        items = tuple(
            Recommendation(
                self._items.id_at(int(place)),
                float(scores[place]),
                self._reasons(model, history, int(place)) if options.explain else (),
            )
            for place in places
        )
        return Shelf(items, model.name, self._version, cold=not len(history))

    def _reasons(self, model: Scorer, history: History, place: int) -> tuple[ShownReason, ...]:
        return tuple(
            ShownReason(reason.share, None if reason.item is None else self._items.id_at(reason.item), reason.feature)
            for reason in model.reasons(history, place)
        )
