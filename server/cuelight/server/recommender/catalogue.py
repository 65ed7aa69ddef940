"""The items as filters see them."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.growing import Growing

__all__ = ["Catalogue", "ItemFilter", "NumberRange"]

_FILTERS_KEPT = 32
"""The oldest goes; one takes a byte an item."""
_CHANGES_FOLLOWED = 256
"""A filter that is further behind is found anew: looking at many items one by one takes longer than that."""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A number that must be there, within bounds that are part of the range."""

    name: str
    least: float = -np.inf
    greatest: float = np.inf


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Conditions that an item must meet, all of them."""

    any_tags: tuple[str, ...] = ()
    """One of these; empty for no condition."""
    all_tags: tuple[str, ...] = ()
    none_tags: tuple[str, ...] = ()
    ranges: tuple[NumberRange, ...] = ()
    include_unavailable: bool = False

    def passes(self, item: ItemAttributes) -> bool:
        """Whether an item meets them."""
        tags = frozenset(item.tags)
        return (
            (item.available or self.include_unavailable)
            and (not self.any_tags or not tags.isdisjoint(self.any_tags))
            and tags.issuperset(self.all_tags)
            and tags.isdisjoint(self.none_tags)
            and all(bounds.least <= item.numbers.get(bounds.name, np.nan) <= bounds.greatest for bounds in self.ranges)
        )


@dataclass(slots=True)
class _Kept:
    """What a filter let pass after the first so many changes."""

    allowed: Growing
    changes: int


class Catalogue:
    """Attributes by place, arranged for filters. One thread owns it.

    Items whose attributes are None were deleted: they pass no filter. What a filter lets pass is kept, and catches up
    with the items that changed when it is asked for again, or is found anew where they are many: so asking again costs
    little, and a change costs nothing however many filters are kept.
    """

    def __init__(self, attributes: Sequence[ItemAttributes | None]) -> None:
        self.attributes = list(attributes)
        """By place. Read only."""
        self.present = sum(item is not None for item in attributes)
        """How many items there are, deleted ones left out."""
        self._present = Growing(len(attributes), False, np.bool_)
        self._present.view[:] = [item is not None for item in attributes]
        self._available = Growing(len(attributes), False, np.bool_)
        self._available.view[:] = [item is not None and item.available for item in attributes]
        self._tagged: dict[str, set[int]] = {}
        self._numbers: dict[str, Growing] = {}
        self._allowed: dict[ItemFilter, _Kept] = {}
        self._changed: deque[int] = deque(maxlen=_CHANGES_FOLLOWED)
        self._changes = 0
        for place, item in enumerate(attributes):
            if item is not None:
                self._arrange(place, item)

    def __len__(self) -> int:
        return len(self.attributes)

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which are not there yet."""
        self.attributes += [None] * (n_items - len(self.attributes))
        for array in (self._present, self._available, *self._numbers.values()):
            array.widen(n_items)

    def put(self, place: int, item: ItemAttributes | None) -> None:
        """Set an item's attributes, all of them anew; None deletes it."""
        before = self.attributes[place]
        for tag in before.tags if before else ():
            self._tagged[tag].discard(place)
            if not self._tagged[tag]:
                del self._tagged[tag]
        for name in before.numbers if before else ():
            self._numbers[name].view[place] = np.nan
        self.attributes[place] = item
        self.present += (item is not None) - (before is not None)
        self._present.view[place] = item is not None
        self._available.view[place] = item is not None and item.available
        if item is not None:
            self._arrange(place, item)
        self._changed.append(place)
        self._changes += 1

    def allowed(self, conditions: ItemFilter) -> NDArray[np.bool_]:
        """Return which items meet the conditions: (items,), the caller's own."""
        kept = self._allowed.get(conditions)
        if kept is None or self._changes - kept.changes > _CHANGES_FOLLOWED:
            if kept is None and len(self._allowed) >= _FILTERS_KEPT:
                del self._allowed[next(iter(self._allowed))]
            kept = self._allowed[conditions] = _Kept(Growing(len(self), False, np.bool_), self._changes)
            kept.allowed.view[:] = self._found(conditions)
        elif self._changes > kept.changes or len(kept.allowed) < len(self):
            kept.allowed.widen(len(self))
            for place in islice(reversed(self._changed), self._changes - kept.changes):
                item = self.attributes[place]
                kept.allowed.view[place] = item is not None and conditions.passes(item)
            kept.changes = self._changes
        return kept.allowed.view.copy()

    def _arrange(self, place: int, item: ItemAttributes) -> None:
        for tag in item.tags:
            self._tagged.setdefault(tag, set()).add(place)
        for name, value in item.numbers.items():
            if name not in self._numbers:
                self._numbers[name] = Growing(len(self), np.nan, np.float64)
            self._numbers[name].view[place] = value

    def _found(self, conditions: ItemFilter) -> NDArray[np.bool_]:
        allowed: NDArray[np.bool_] = (self._present if conditions.include_unavailable else self._available).view.copy()
        if conditions.any_tags:
            allowed &= self._with_any(conditions.any_tags)
        for tag in frozenset(conditions.all_tags):
            if not self._tagged.get(tag):
                return np.zeros(len(self), np.bool_)
            allowed &= self._with_any((tag,))
        if conditions.none_tags:
            allowed &= ~self._with_any(conditions.none_tags)
        for bounds in conditions.ranges:
            numbers = self._numbers.get(bounds.name)
            values = np.empty(0) if numbers is None else numbers.view
            allowed &= (values >= bounds.least) & (values <= bounds.greatest) if len(values) else False
        return allowed

    def _with_any(self, tags: Iterable[str]) -> NDArray[np.bool_]:
        tagged = np.zeros(len(self), np.bool_)
        for tag in frozenset(tags):
            if places := self._tagged.get(tag):
                tagged[np.fromiter(places, np.int64, len(places))] = True
        return tagged
