"""For whom a shelf is and how it is made, as plain values, and how that is said on the wire."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = ["Boost", "ItemFilter", "NumberRange", "ShelfOptions", "Who", "options_message", "query_message"]

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
class Boost:
    """A rule that lifts or lowers some items before the best are chosen: those named, and those that pass the filter.

    A score s becomes s + (factor - 1) |s| + add: a `factor` above 1 lifts, one between 0 and 1 lowers. In reasons it is
    the feature `name`. A `filter` that says nothing is for all items; without one it is for `item_ids` alone, and with
    neither it is refused.
    """

    name: str = "boost"
    item_ids: tuple[str, ...] = ()
    filter: ItemFilter | None = None
    factor: float = 1.0
    add: float = 0.0

    def __post_init__(self) -> None:
        if not self.item_ids and self.filter is None:
            raise ValueError(f'boost "{self.name}": expected item_ids or filter, got neither: it would move nothing')


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """How a shelf is made. Without `model` and `blend` the server takes its own.

    `blend` weighs several models: any finite numbers. `n`: 1 to 1000 items at most, 10 without it. `include_seen` lets
    items of the history onto the shelf. `diversity` of 0 (best scores first) to 1 is how much unlike its items shall
    be. `explain` asks for reasons; with `max_reasons` for the largest so many of each item, and what the others come to
    as one more, the last, with the feature "others".

    With `exclude_seen_since_s` (Unix time) only what the user told of from then on stays off. `boosts` are applied one
    after the other. `exploration` is the share of places, 0 to 1, that go to items from further down, drawn with
    `seed`: 0 to 2^64 - 1, the server's choice without one; the same seed and state give the same shelf. In an
    `experiment` of the server's the user's variant sets what has its default here. `exclude_item_ids`, 10,000 at most,
    are never on the shelf; ids that are not known are passed over.
    """

    model: str = ""
    blend: Mapping[str, float] | None = None
    n: int | None = None
    filter: ItemFilter | None = None
    include_seen: bool = False
    diversity: float = 0.0
    explain: bool = False
    exclude_seen_since_s: float | None = None
    boosts: tuple[Boost, ...] = ()
    exploration: float = 0.0
    seed: int | None = None
    experiment: str = ""
    max_reasons: int = 0
    exclude_item_ids: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.model and self.blend is not None:
            raise ValueError(f'expected model or blend, got "{self.model}" and {dict(self.blend)}')
        if self.n == 0:
            # On the wire 0 is the default.
            raise ValueError("n must be at least 1, got 0")
        if isinstance(self.exclude_item_ids, str):
            raise ValueError(f'exclude_item_ids: expected ids, got one text, "{self.exclude_item_ids}"')
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be 0 to 2^64 - 1, got {self.seed}")


def options_message(options: ShelfOptions) -> pb.ShelfOptions:
    """Return the wire's form of the options."""
    message = pb.ShelfOptions(
        n=options.n or 0,
        filter=_filter_message(options.filter),
        include_seen=options.include_seen,
        diversity=options.diversity,
        explain=options.explain,
        boosts=map(_boost_message, options.boosts),
        exploration=options.exploration,
        seed=options.seed,
        experiment=options.experiment,
        max_reasons=options.max_reasons,
        exclude_item_ids=options.exclude_item_ids,
    )
    if options.exclude_seen_since_s is not None:
        message.exclude_seen_since.FromMicroseconds(round(options.exclude_seen_since_s * 1e6))
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


def _boost_message(boost: Boost) -> pb.Boost:
    return pb.Boost(
        name=boost.name,
        item_ids=boost.item_ids,
        filter=_filter_message(boost.filter),
        factor=boost.factor,
        add=boost.add,
    )


def _filter_message(conditions: ItemFilter | None) -> pb.Filter | None:
    if conditions is None:
        return None
    return pb.Filter(
        any_tags=conditions.any_tags,
        all_tags=conditions.all_tags,
        none_tags=conditions.none_tags,
        ranges=(pb.Range(name=bounds.name, min=bounds.min, max=bounds.max) for bounds in conditions.ranges),
        include_unavailable=conditions.include_unavailable,
    )
