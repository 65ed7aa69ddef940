"""What the recommender answers: shelves, reasons, items, users, models; plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = [
    "Item",
    "Reason",
    "Recommendation",
    "RecommenderModels",
    "Shelf",
    "SimilarUser",
    "item_from",
    "item_message",
    "models_from",
    "shelf_from",
    "users_from",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """A part of a score: from an item of the history (`item_id`), or from a property such as popularity (`feature`)."""

    share: float
    item_id: str | None = None
    feature: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item of a shelf. Scores are comparable within a shelf only.

    `reasons`, where they were asked for: largest share first; the shares add up to the score. `explored`: it is there
    by exploration.
    """

    item_id: str
    score: float
    reasons: tuple[Reason, ...] = ()
    explored: bool = False


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one user gets, best first; fewer than asked for where no more pass the filter.

    `model_version` is the number of the last event that was learned. On a cold shelf nothing is known of what the user
    likes: it is what everybody likes, made by the model "popularity". `seed` is what was drawn with, 0 without
    exploration; `variant` the user's one of the experiment that was asked for.
    """

    items: tuple[Recommendation, ...]
    model: str
    model_version: int
    cold: bool = False
    seed: int = 0
    variant: str = ""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items' ids, best first."""
        return tuple(item.item_id for item in self.items)


@dataclass(frozen=True, slots=True)
class SimilarUser:
    """A user with likes in common; `similarity` above 0 to 1."""

    user_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of an item. Tags and words of the title make items alike; filters use tags and numbers.

    An item that is `unavailable` is learned from, but never recommended.
    """

    item_id: str
    title: str = ""
    tags: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class RecommenderModels:
    """The models by name and whether each can be asked now; what they have learned, as `Shelf.model_version`."""

    ready: Mapping[str, bool]
    version: int
    users: int
    items: int
    events: int


def shelf_from(shelf: pb.Shelf) -> Shelf:
    """Return a shelf of the wire as a plain value."""
    items = tuple(
        Recommendation(item.item_id, item.score, tuple(_reason_from(reason) for reason in item.reasons), item.explored)
        for item in shelf.items
    )
    return Shelf(items, shelf.model, shelf.model_version, shelf.cold, shelf.seed, shelf.variant)


def users_from(response: pb.SimilarUsersResponse) -> tuple[SimilarUser, ...]:
    """Return users of the wire as plain values."""
    return tuple(SimilarUser(user.user_id, user.similarity) for user in response.users)


def item_from(item: pb.Item) -> Item:
    """Return an item of the wire as a plain value."""
    return Item(item.item_id, item.title, tuple(item.tags), dict(item.numbers), item.unavailable)


def item_message(item: Item) -> pb.Item:
    """Return the wire's form of an item."""
    return pb.Item(
        item_id=item.item_id,
        title=item.title,
        tags=item.tags,
        numbers=item.numbers,
        unavailable=item.unavailable,
    )


def models_from(response: pb.ListModelsResponse) -> RecommenderModels:
    """Return the models of the wire as plain values."""
    ready = {model.name: model.ready for model in response.models}
    return RecommenderModels(ready, response.version, response.users, response.items, response.events)


def _reason_from(reason: pb.Reason) -> Reason:
    if reason.WhichOneof("because") == "item_id":
        return Reason(reason.share, item_id=reason.item_id)
    return Reason(reason.share, feature=reason.feature)
