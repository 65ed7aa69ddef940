"""For whom a shelf is and how it is made, as plain values, and how that is said on the wire."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = ["ItemFilter", "NumberRange", "ShelfOptions", "Who", "options_message", "query_message"]

Who = str | Mapping[str, float] | Collection[str]
"""A user's id; or, for sessions and users that shall not be stored, what is liked: item ids, or their weights."""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Bounds of a number among an item's attributes, both part of the range; None is no bound.

    An item without the number is outside.
    """

    name: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items may be on a shelf: those that pass everything set here."""

    any_tags: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    none_tags: tuple[str, ...] = ()
    ranges: tuple[NumberRange, ...] = ()
    include_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """How a shelf is made. Without `model` and `blend` the server takes its own.

    `blend` weighs several models: any finite numbers. `n`: 1 to 1000 items at most. `include_seen` lets items of the
    history onto the shelf. `diversity` of 0 (best scores first) to 1 is how much unlike its items shall be. `explain`
    asks for reasons.
    """

    model: str = ""
    blend: Mapping[str, float] | None = None
    n: int = 10
    filter: ItemFilter = ItemFilter()
    include_seen: bool = False
    diversity: float = 0.0
    explain: bool = False

    def __post_init__(self) -> None:
        if self.model and self.blend is not None:
            raise ValueError(f'expected model or blend, got "{self.model}" and {dict(self.blend)}')
        if self.n == 0:
            # On the wire 0 is the default.
            raise ValueError("n must be at least 1, got 0")


def options_message(options: ShelfOptions) -> pb.ShelfOptions:
    """Return the wire's form of the options."""
    message = pb.ShelfOptions(
        n=options.n,
        filter=_filter_message(options.filter),
        include_seen=options.include_seen,
        diversity=options.diversity,
        explain=options.explain,
    )
    if options.model:
        message.model = options.model
    elif options.blend is not None:
        message.blend.CopyFrom(pb.Blend(weights=options.blend))
    return message


def query_message(who: Who) -> pb.Query:
    """Return the wire's form of a user or a history. Raises: ValueError for a weight of 0."""
    if isinstance(who, str):
        return pb.Query(user_id=who)
    weights = who if isinstance(who, Mapping) else dict.fromkeys(who, 1.0)
    if 0 in weights.values():
        # On the wire 0 is the default.
        raise ValueError(f"weights must be above 0, got {dict(weights)}")
    items = (pb.LikedItem(item_id=item_id, weight=weight) for item_id, weight in weights.items())
    return pb.Query(history=pb.History(items=items))


def _filter_message(conditions: ItemFilter) -> pb.Filter:
    return pb.Filter(
        any_tags=conditions.any_tags,
        all_tags=conditions.all_tags,
        none_tags=conditions.none_tags,
        ranges=(pb.Range(name=bounds.name, min=bounds.min, max=bounds.max) for bounds in conditions.ranges),
        include_unavailable=conditions.include_unavailable,
    )
