"""What is asked for and what is answered, in the callers' own ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.catalogue import ItemFilter

__all__ = ["MAX_N", "Query", "Recommendation", "Shelf", "ShelfOptions", "ShownReason", "check_n"]

MAX_N = 1000
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

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise InvalidRequest(f"diversity: expected 0 to 1, got {self.diversity}")


@dataclass(frozen=True, slots=True)
class Query:
    """A user by id, or else a history: weights by item. An item that is not known has no say."""

    user: str | None = None
    history: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownReason:
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


@dataclass(frozen=True, slots=True)
class Shelf:
    """Items, best first, and what made them: a model that had learned the events up to number `version`."""

    items: tuple[Recommendation, ...]
    model: str
    version: int
    cold: bool = False
    """Whether nothing is known of what is liked, so that it is what everybody likes."""


def check_n(n: int) -> int:
    """Return how many items were asked for, 0 standing for the default. Raises: InvalidRequest."""
    if not 0 <= n <= MAX_N:
        raise InvalidRequest(f"n: expected 1 to {MAX_N}, or 0 for {_DEFAULT_N}, got {n}")
    return n or _DEFAULT_N
