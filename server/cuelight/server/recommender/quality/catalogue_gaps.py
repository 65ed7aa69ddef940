"""Where interactions and catalogue do not meet, and what the catalogue does not say."""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.interactions import Interactions

__all__ = ["CatalogueGaps", "find_catalogue_gaps", "find_unknown_items"]


@dataclass(frozen=True, slots=True)
class CatalogueGaps:
    """Counts of items of the catalogue."""

    items: int
    untouched: int
    """Nobody said anything of them."""
    without_title: int
    without_tags: int
    without_numbers: int
    without_any: int
    """Neither title nor tags nor numbers."""
    same_title: int
    """With a title that an item before has too."""


def find_catalogue_gaps(catalogue: Mapping[str, ItemAttributes], touched: Set[str]) -> CatalogueGaps:
    """Count what is missing; `touched` are the ids of all items that anybody said anything of."""
    known = list(catalogue.values())
    titles = Counter(item.title for item in known if item.title)
    return CatalogueGaps(
        len(known),
        sum(item not in touched for item in catalogue),
        sum(not item.title for item in known),
        sum(not item.tags for item in known),
        sum(not item.numbers for item in known),
        sum(not (item.title or item.tags or item.numbers) for item in known),
        titles.total() - len(titles),
    )


def find_unknown_items(told: Interactions, catalogue: Mapping[str, ItemAttributes]) -> NDArray[np.bool_]:
    """Return which rows are about items that are not in the catalogue: (rows,)."""
    unknown = np.array([item not in catalogue for item in told.item_ids], np.bool_)
    return unknown[told.items]
