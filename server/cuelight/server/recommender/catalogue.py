"""The items as filters see them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemAttributes

__all__ = ["Catalogue", "ItemFilter", "NumberRange"]


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


class Catalogue:
    """Attributes by place, arranged for filters. Immutable: made anew when attributes change.

    Items whose attributes are None were deleted: they pass no filter.
    """

    def __init__(self, attributes: Sequence[ItemAttributes | None]) -> None:
        self.attributes = tuple(attributes)
        self._present = np.array([item is not None for item in attributes], np.bool_)
        self._available = np.array([item is not None and item.available for item in attributes], np.bool_)
        self._tagged: dict[str, list[int]] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}
        for place, item in enumerate(attributes):
            for tag in item.tags if item else ():
                self._tagged.setdefault(tag, []).append(place)
            for name, value in item.numbers.items() if item else ():
                self._numbers.setdefault(name, np.full(len(attributes), np.nan))[place] = value

    def allowed(self, conditions: ItemFilter) -> NDArray[np.bool_]:
        """Return which items meet the conditions: (items,)."""
        allowed = (self._present if conditions.include_unavailable else self._available).copy()
        if conditions.any_tags:
            allowed &= np.any([self._with(tag) for tag in conditions.any_tags], axis=0)
        for tag in conditions.all_tags:
            allowed &= self._with(tag)
        for tag in conditions.none_tags:
            allowed &= ~self._with(tag)
        for bounds in conditions.ranges:
            values = self._numbers.get(bounds.name)
            within = False if values is None else (values >= bounds.least) & (values <= bounds.greatest)
            allowed &= within
        return allowed

    def _with(self, tag: str) -> NDArray[np.bool_]:
        tagged = np.zeros(len(self.attributes), np.bool_)
        tagged[self._tagged.get(tag, [])] = True
        return tagged
