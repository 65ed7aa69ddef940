"""The items as filters see them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.growing import Growing

__all__ = ["Catalogue", "ItemFilter", "NumberRange"]

_FILTERS_KEPT = 32
"""The oldest goes; one takes a byte an item."""


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
        return (
            (item.available or self.include_unavailable)
            and (not self.any_tags or any(tag in item.tags for tag in self.any_tags))
            and all(tag in item.tags for tag in self.all_tags)
            and not any(tag in item.tags for tag in self.none_tags)
            and all(bounds.least <= item.numbers.get(bounds.name, np.nan) <= bounds.greatest for bounds in self.ranges)
        )


class Catalogue:
    """Attributes by place, arranged for filters. One thread owns it.

    Items whose attributes are None were deleted: they pass no filter. What a filter lets pass is kept and follows
    changes item by item, so that asking with the same filter again costs a copy.
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
        self._allowed: dict[ItemFilter, Growing] = {}
        for place, item in enumerate(attributes):
            if item is not None:
                self._arrange(place, item)

    def __len__(self) -> int:
        return len(self.attributes)

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which are not there yet."""
        self.attributes += [None] * (n_items - len(self.attributes))
        for array in (self._present, self._available, *self._numbers.values(), *self._allowed.values()):
            array.widen(n_items)

    def put(self, place: int, item: ItemAttributes | None) -> None:
        """Set an item's attributes, all of them anew; None deletes it."""
        before = self.attributes[place]
        for tag in before.tags if before else ():
            self._tagged[tag].discard(place)
        for name in before.numbers if before else ():
            self._numbers[name].view[place] = np.nan
        self.attributes[place] = item
        self.present += (item is not None) - (before is not None)
        self._present.view[place] = item is not None
        self._available.view[place] = item is not None and item.available
        if item is not None:
            self._arrange(place, item)
        for conditions, allowed in self._allowed.items():
            allowed.view[place] = item is not None and conditions.passes(item)

    def allowed(self, conditions: ItemFilter) -> NDArray[np.bool_]:
        """Return which items meet the conditions: (items,), the caller's own."""
        if conditions not in self._allowed:
            if len(self._allowed) >= _FILTERS_KEPT:
                del self._allowed[next(iter(self._allowed))]
            kept = Growing(len(self), False, np.bool_)
            kept.view[:] = self._found(conditions)
            self._allowed[conditions] = kept
        return self._allowed[conditions].view.copy()

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
            allowed &= np.any([self._with(tag) for tag in conditions.any_tags], axis=0)
        for tag in conditions.all_tags:
            allowed &= self._with(tag)
        for tag in conditions.none_tags:
            allowed &= ~self._with(tag)
        for bounds in conditions.ranges:
            numbers = self._numbers.get(bounds.name)
            values = np.empty(0) if numbers is None else numbers.view
            allowed &= (values >= bounds.least) & (values <= bounds.greatest) if len(values) else False
        return allowed

    def _with(self, tag: str) -> NDArray[np.bool_]:
        places = self._tagged.get(tag, set())
        tagged = np.zeros(len(self), np.bool_)
        tagged[np.fromiter(places, np.int64, len(places))] = True
        return tagged
