"""Rules that lift or lower some items before the best are chosen, one after the other.

A rule turns a score s into s + (factor - 1) |s| + add: by a share of its size, so that a factor above 1 lifts whatever
the sign, and then by an amount. What it moved is a reason under the rule's name, so reasons still add up to the score.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.catalogue import Catalogue, ItemFilter
from cuelight.server.recommender.names import Names

__all__ = ["DEFAULT_BOOST_NAME", "MAX_BOOSTS", "Boost", "BoostRule", "boosted", "rules_of", "shares_of_boosts"]

MAX_BOOSTS = 100
DEFAULT_BOOST_NAME = "boost"


@dataclass(frozen=True, slots=True)
class Boost:
    """A rule as callers say it: for the items that are named and those that meet the conditions."""

    name: str = DEFAULT_BOOST_NAME
    """What it is called in reasons."""
    items: tuple[str, ...] = ()
    """Ids; those that are not known are passed over."""
    conditions: ItemFilter | None = None
    """None for none but those named."""
    factor: float = 1.0
    add: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise InvalidRequest(f'boost "{self.name}": factor: expected a number above 0, got {self.factor}')
        if not math.isfinite(self.add):
            raise InvalidRequest(f'boost "{self.name}": add: expected a finite number, got {self.add}')
        if not self.items and self.conditions is None:
            raise InvalidRequest(
                f'boost "{self.name}": expected item_ids or filter, got neither: it would move nothing'
            )


@dataclass(frozen=True, slots=True, eq=False)
class BoostRule:
    """A boost, and which items it is for: `applies` (items,)."""

    boost: Boost
    applies: NDArray[np.bool_]

    def moved(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of items that it is for, moved; of any shape."""
        return scores + (self.boost.factor - 1) * np.abs(scores) + self.boost.add


def rules_of(boosts: Sequence[Boost], catalogue: Catalogue, items: Names) -> tuple[BoostRule, ...]:
    """Find the items of each boost in a catalogue."""
    return tuple(BoostRule(boost, _applies(boost, catalogue, items)) for boost in boosts)


def boosted(scores: NDArray[np.float64], rules: Sequence[BoostRule]) -> NDArray[np.float64]:
    """Return the scores (items,) after all rules, in their order.

    Raises: InvalidRequest when they lead beyond what a double holds.
    """
    moved = scores
    with np.errstate(over="ignore", invalid="ignore"):
        for rule in rules:
            moved = np.where(rule.applies, rule.moved(moved), moved)
    if rules and not np.isfinite(moved).all():
        names = ", ".join(rule.boost.name for rule in rules)
        raise InvalidRequest(f"boosts: expected scores that stay finite, got one that does not from {names}")
    return moved


def shares_of_boosts(score: float, place: int, rules: Sequence[BoostRule]) -> Mapping[str, float]:
    """Return how far the rules of each name moved the item at a place, whose score was `score`; 0 left out."""
    shares: dict[str, float] = {}
    now = np.array(score)
    for rule in rules:
        if rule.applies[place]:
            moved = rule.moved(now)
            shares[rule.boost.name] = shares.get(rule.boost.name, 0.0) + float(moved - now)
            now = moved
    return {name: share for name, share in shares.items() if share}


def _applies(boost: Boost, catalogue: Catalogue, items: Names) -> NDArray[np.bool_]:
    if boost.conditions is None:
        applies = np.zeros(len(catalogue.attributes), np.bool_)
    else:
        applies = catalogue.allowed(boost.conditions)
    named = [place for item in boost.items if (place := items.place(item)) is not None]
    applies[named] = True
    return applies
