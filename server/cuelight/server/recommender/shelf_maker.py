"""From scores to a shelf, step by step: boosts, who may be on it, the best of them, diversity, exploration, reasons."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import BoostRule, boosted, rules_of, shares_of_boosts
from cuelight.server.recommender.catalogue import Catalogue
from cuelight.server.recommender.exploration import draw, generator_of, mixed
from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.history import NOBODY, History
from cuelight.server.recommender.models.scorer import ROUNDING, Reason, Scorer
from cuelight.server.recommender.names import Names
from cuelight.server.recommender.ranking import diverse, top
from cuelight.server.recommender.shelves import Recommendation, Shelf, ShelfOptions, ShownReason

__all__ = ["Asker", "ShelfMaker"]

_OTHERS = "others"
_POOL = 5
"""A diverse shelf is chosen from so many times as many items as it holds."""


_shown: Callable[[tuple[float, str | None, str]], ShownReason] = partial(tuple.__new__, ShownReason)
"""What `ShownReason` does with a tuple of all fields, in half the time: a shelf has a thousand."""


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """For whom a shelf is: the likes it comes from, the places that stay off it, (s,), and what tells askers apart."""

    history: History
    left_off: NDArray[np.int64]
    who: str


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """What options come to in one state: items that pass the filter and are not excluded, (items,), and the boosts."""

    allowed: NDArray[np.bool_]
    boosts: tuple[BoostRule, ...]


class ShelfMaker:
    """Makes shelves of one state of items and models, of which `version` is the number of the last event.

    Where scores are equal the more popular item comes first, as `popular` has it. A model that has nothing but 0 for
    all that may be on a shelf knows nothing of what is liked: `popular` makes that shelf, and it is cold.

    Askers with the same options share what these come to.
    """

    def __init__(
        self, catalogue: Catalogue, features: ItemFeatures, items: Names, version: int, popular: Scorer
    ) -> None:
        self._catalogue = catalogue
        self._features = features
        self._items = items
        self._version = version
        self._popular = popular
        self._popularity: NDArray[np.float64] | None = None
        self._rules: dict[int, tuple[ShelfOptions, _Rules]] = {}

    def shelf(self, model: Scorer, asker: Asker, scores: NDArray[np.float64], options: ShelfOptions) -> Shelf:
        """Return the shelf of somebody to whom a model gave `scores` (items,).

        Raises: InvalidRequest when weights or boosts lead beyond finite scores.
        """
        if not np.isfinite(scores).all():
            raise InvalidRequest(
                f'model "{model.name}": expected weights that lead to finite scores, got one that does not'
            )
        rules = self._rules_of(options)
        allowed = rules.allowed.copy()
        allowed[asker.left_off] = False
        final = boosted(scores, rules.boosts)
        best = self._best(final, allowed, options)
        cold = not len(asker.history)
        if not cold and len(best) and _says_nothing(scores[best]) and _says_nothing(scores[allowed]):
            cold, model, scores = True, self._popular, self._popularities()
            final = boosted(scores, rules.boosts)
            best = self._best(final, allowed, options)
        shelf, explored = self._explored(best, final, allowed, asker, options)
        reasons = self._reasons(model, asker.history, shelf, scores, rules.boosts, options) if options.explain else None
        items = tuple(
            # Adding 0 makes 0 of -0.
            Recommendation(self._items.id_at(place), score + 0.0, why, place in explored)
            for place, score, why in zip(shelf.tolist(), final[shelf].tolist(), reasons or repeat(()), strict=False)
        )
        seed = options.seed if options.exploration else 0
        return Shelf(items, model.name, self._version, cold, seed)

    def _rules_of(self, options: ShelfOptions) -> _Rules:
        # By identity: comparing options costs more than most of them do. The options are kept, so no id comes twice.
        found = self._rules.get(id(options))
        if found is None:
            allowed = self._catalogue.allowed(options.conditions)
            allowed[[place for item in options.excluded if (place := self._items.place(item)) is not None]] = False
            boosts = rules_of(options.boosts, self._catalogue, self._items)
            found = self._rules[id(options)] = (options, _Rules(allowed, boosts))
        return found[1]

    def _best(
        self, scores: NDArray[np.float64], allowed: NDArray[np.bool_], options: ShelfOptions
    ) -> NDArray[np.int64]:
        if not options.diversity:
            return top(scores, options.n, allowed, self._popularities)
        pool = top(scores, options.n * _POOL, allowed, self._popularities)
        return diverse(pool, scores, self._features.between(pool, pool), options.n, options.diversity)

    def _explored(
        self,
        best: NDArray[np.int64],
        scores: NDArray[np.float64],
        allowed: NDArray[np.bool_],
        asker: Asker,
        options: ShelfOptions,
    ) -> tuple[NDArray[np.int64], frozenset[int]]:
        """Return the shelf with drawn items from below it in some places, and which items those are."""
        if not options.exploration:
            return best, frozenset()
        below = allowed.copy()
        below[best] = False
        drawn = draw(generator_of(options.seed, asker.who), len(best), int(below.sum()), options.exploration)
        if not len(drawn):
            return best, frozenset()
        ranked = top(scores, int(drawn.below.max()) + 1, below, self._popularities)
        items = ranked[drawn.below]
        return mixed(best, drawn, items), frozenset(items.tolist())

    def _popularities(self) -> NDArray[np.float64]:
        if self._popularity is None:
            [self._popularity] = self._popular.scores([NOBODY])
        return self._popularity

    def _reasons(
        self,
        model: Scorer,
        history: History,
        shelf: NDArray[np.int64],
        scores: NDArray[np.float64],
        boosts: Sequence[BoostRule],
        options: ShelfOptions,
    ) -> list[tuple[ShownReason, ...]]:
        """Return the reasons of every item on a shelf, whose `scores` (items,) are those before the boosts."""
        told = zip(shelf.tolist(), scores[shelf].tolist(), model.reasons(history, shelf), strict=True)
        return [self._shown_reasons(place, score, why, boosts, options.max_reasons) for place, score, why in told]

    def _shown_reasons(
        self, place: int, score: float, told: Sequence[Reason], boosts: Sequence[BoostRule], most: int
    ) -> tuple[ShownReason, ...]:
        id_at = self._items.id_at
        reasons = list(told)
        moved = shares_of_boosts(score, place, boosts)
        if moved:
            reasons += [Reason(share, feature=name) for name, share in moved.items()]
            reasons.sort(key=lambda reason: -reason.share)
        kept = _largest(reasons, most) if 0 < most < len(reasons) else reasons
        return tuple(_shown((share, None if item is None else id_at(item), feature)) for share, item, feature in kept)


def _largest(reasons: Sequence[Reason], most: int) -> list[Reason]:
    """Return the largest by size, in their order, and then what the others come to."""
    by_size = sorted(range(len(reasons)), key=lambda at: -abs(reasons[at].share))
    others = math.fsum(reasons[at].share for at in by_size[most:])
    kept = [reasons[at] for at in sorted(by_size[:most])]
    return [*kept, Reason(others, feature=_OTHERS)] if others else kept


def _says_nothing(scores: NDArray[np.float64]) -> bool:
    return bool(np.abs(scores).max() <= ROUNDING)
