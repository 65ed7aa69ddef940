"""What is asked for and what is answered, in the callers' own ids."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import MAX_BOOSTS, Boost
from cuelight.server.recommender.catalogue import ItemFilter

__all__ = [
    "LEAST_WEIGHT",
    "MAX_EXCLUDED",
    "MAX_N",
    "MOST_WEIGHT",
    "Query",
    "Recommendation",
    "Shelf",
    "ShelfOptions",
    "ShownReason",
    "check_n",
]

MAX_N = 1000
MAX_EXCLUDED = 10_000
MAX_EXPLAINED = 100
"""Items of a shelf with reasons, of which each has as many as the history has items."""
MAX_DIVERSE = 200
"""Items of a diverse shelf: it is chosen from five times as many, which are compared in pairs."""
LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
"""Of items in a history that comes with a call, and of models in a blend: sums of products of these stay exact."""
_DEFAULT_N = 10


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """How a shelf is made."""

    model: str = "hybrid"
    blend: Mapping[str, float] = field(default_factory=dict)
    """Weights by model; before `model` where there are any."""
    n: int = _DEFAULT_N
    conditions: ItemFilter = field(default_factory=ItemFilter)
    include_seen: bool = False
    diversity: float = 0.0
    """0 (best scores first) to 1."""
    explain: bool = False
    exclude_seen_since_s: float = -math.inf
    """Unix time; what the user told of before may be on the shelf again."""
    boosts: tuple[Boost, ...] = ()
    exploration: float = 0.0
    """The share of places, 0 to 1, that go to items from further down."""
    seed: int = 0
    """What is drawn with."""
    max_reasons: int = 0
    """The largest so many are told, and what the others come to as one; 0 for all."""
    excluded: tuple[str, ...] = ()
    """Ids of items that are never on the shelf; those that are not known are passed over."""

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise InvalidRequest(f"diversity: expected 0 to 1, got {self.diversity}")
        if not 0 <= self.exploration <= 1:
            raise InvalidRequest(f"exploration: expected 0 to 1, got {self.exploration}")
        for name, most, asked in (("explain", MAX_EXPLAINED, self.explain), ("diversity", MAX_DIVERSE, self.diversity)):
            if asked and self.n > most:
                raise InvalidRequest(f"n: expected {most} at most with {name}, got {self.n}")
        if self.max_reasons < 0:
            raise InvalidRequest(f"max_reasons: expected 0, for all, or more, got {self.max_reasons}")
        if len(self.excluded) > MAX_EXCLUDED:
            raise InvalidRequest(f"exclude_item_ids: expected {MAX_EXCLUDED} at most, got {len(self.excluded)}")
        if len(self.boosts) > MAX_BOOSTS:
            raise InvalidRequest(f"boosts: expected {MAX_BOOSTS} at most, got {len(self.boosts)}")
        if self.include_seen and self.exclude_seen_since_s > -math.inf:
            raise InvalidRequest("exclude_seen_since: expected without include_seen, got both")


@dataclass(frozen=True, slots=True)
class Query:
    """A user by id, or else a history: weights by item. An item that is not known has no say."""

    user: str | None = None
    history: Mapping[str, float] = field(default_factory=dict)

    @property
    def who(self) -> str:
        """What tells this asker from others; of one user always the same."""
        return f"user {self.user}" if self.user is not None else f"history {sorted(self.history)}"


class ShownReason(NamedTuple):
    """A part of a score, from the item `item` of the history or the property `feature`."""

    share: float
    item: str | None = None
    feature: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item of a shelf."""

    item: str
    score: float
    reasons: tuple[ShownReason, ...] = ()
    explored: bool = False
    """Whether it is there by exploration."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Items, best first, and what made them: a model that had learned the events up to number `version`."""

    items: tuple[Recommendation, ...]
    model: str
    version: int
    cold: bool = False
    """Whether nothing is known of what is liked, or nothing that says anything, so that it is what everybody likes."""
    seed: int = 0
    """What was drawn with; 0 without exploration."""


def check_n(n: int) -> int:
    """Return how many items were asked for, 0 standing for the default. Raises: InvalidRequest."""
    if not 0 <= n <= MAX_N:
        raise InvalidRequest(f"n: expected 1 to {MAX_N}, or 0 for {_DEFAULT_N}, got {n}")
    return n or _DEFAULT_N
