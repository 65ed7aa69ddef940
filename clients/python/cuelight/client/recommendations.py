"""What the recommender answers: shelves, reasons, items, users, models; plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = [
    "Item",
    "NearItem",
    "Nearest",
    "Numbers",
    "Reason",
    "Recommendation",
    "RecommenderModels",
    "Shelf",
    "SimilarUser",
    "embedding_message",
    "item_from",
    "item_message",
    "joined",
    "models_from",
    "nearest_from",
    "shelf_from",
    "users_from",
]


Numbers = Sequence[float] | NDArray[np.float32] | NDArray[np.float64]
"""A vector; sent as float32."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A part of a score: from an item of the history (`item_id`), or from a property such as popularity (`feature`).

    The feature "others" is what all those come to that `ShelfOptions.max_reasons` leaves out.
    """

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
    """What one user gets, best first, of equal scores the more popular; fewer than asked for where no more pass.

    `model_version` is the number of the last event that was learned. On a cold shelf nothing is known of what the user
    likes, or nothing that tells the model anything: it is what everybody likes, made by the model "popularity". `seed`
    is what was drawn with, 0 without exploration; `variant` the user's one of the experiment that was asked for.
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
    """What is known of an item. Tags, words of the title and embeddings make items alike; filters use tags and numbers.

    An item that is `unavailable` is learned from, but never recommended. `embeddings`: vectors by space, a name of your
    choice of 1 to 64 bytes; in a space all are of one length, 1 to 4096, and only their direction counts.
    """

    item_id: str
    title: str = ""
    tags: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    unavailable: bool = False
    embeddings: Mapping[str, Numbers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NearItem:
    """An item near to a query; `cosine` -1 to 1."""

    item_id: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Nearest:
    """A list for each query, nearest first. `exact`: every item was looked at, so none nearer was missed."""

    lists: tuple[tuple[NearItem, ...], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class RecommenderModels:
    """The models by name and whether each can be asked now; what they have learned, as `Shelf.model_version`.

    `details` says by name why a model cannot be asked, and what would help; it is empty for one that can.
    """

    ready: Mapping[str, bool]
    version: int
    users: int
    items: int
    events: int
    details: Mapping[str, str] = field(default_factory=dict)


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
    embeddings = {space: tuple(embedding.values) for space, embedding in item.embeddings.items()}
    return Item(item.item_id, item.title, tuple(item.tags), dict(item.numbers), item.unavailable, embeddings)


def item_message(item: Item) -> pb.Item:
    """Return the wire's form of an item."""
    return pb.Item(
        item_id=item.item_id,
        title=item.title,
        tags=item.tags,
        numbers=item.numbers,
        unavailable=item.unavailable,
        embeddings={space: embedding_message(values) for space, values in item.embeddings.items()},
    )


def nearest_from(response: pb.NearestItemsResponse) -> Nearest:
    """Return what is near as plain values."""
    lists = (tuple(NearItem(item.item_id, item.cosine) for item in near.items) for near in response.lists)
    return Nearest(tuple(lists), response.exact)


def models_from(response: pb.ListModelsResponse) -> RecommenderModels:
    """Return the models of the wire as plain values."""
    ready = {model.name: model.ready for model in response.models}
    details = {model.name: model.detail for model in response.models}
    return RecommenderModels(ready, response.version, response.users, response.items, response.events, details)


def _reason_from(reason: pb.Reason) -> Reason:
    if reason.WhichOneof("because") == "item_id":
        return Reason(reason.share, item_id=reason.item_id)
    return Reason(reason.share, feature=reason.feature)


def joined(parts: Iterable[Nearest]) -> Nearest:
    """Return the answers of several calls as one."""
    answers = list(parts)
    return Nearest(tuple(near for part in answers for near in part.lists), all(part.exact for part in answers))


def embedding_message(values: Numbers) -> pb.Embedding:
    return pb.Embedding(values=np.asarray(values, np.float32).tolist())
