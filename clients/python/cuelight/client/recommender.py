"""What people will like next, which items and users are alike, and why; and telling the server what people did.

Every call may be made again without harm, and is, as the channel's `RetryPolicy` says and the server asks. Every call
can raise Unavailable, Overloaded and DeadlineExceeded; what else is said at each.
"""

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TypeVar

from cuelight.client import recommender_calls as calls
from cuelight.client.calls import Call
from cuelight.client.channel import Channel
from cuelight.client.experiments import Experiment, UserExport
from cuelight.client.interactions import Interaction, Recorded, recording_calls
from cuelight.client.recommendations import (
    Item,
    Nearest,
    Numbers,
    RecommenderModels,
    Shelf,
    SimilarUser,
    joined,
    shelf_from,
)
from cuelight.client.shelf_options import ItemFilter, ShelfOptions, Who
from cuelight.recommender.v1 import recommender_pb2 as pb

__all__ = ["RecommenderClient"]

Answer = TypeVar("Answer")


class RecommenderClient:
    """Calls on one recommender; for any number of threads. `timeout_s` where given goes before the channel's."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def recommend(self, who: Who, options: ShelfOptions | None = None, *, timeout_s: float | None = None) -> Shelf:
        """Return what a user, or whoever has a history, will like; a user who is not known gets a cold shelf.

        Raises: InvalidRequest, NotFound for a model that is not there.
        """
        [shelf] = self.recommend_many([who], options, timeout_s=timeout_s)
        return shelf

    def recommend_many(
        self, whom: Iterable[Who], options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> list[Shelf]:
        """Return a shelf for each, in their order; up to 1000 are scored together. Raises: as `recommend`."""
        return [shelf for call in calls.recommend_calls(whom, options) for shelf in self._answered(call, timeout_s)]

    def watch(
        self, who: Who, options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> Generator[Shelf, None, None]:
        """Yield a shelf as it is now, and again whenever its items or their order change; until the iteration is left.

        When the server restarts the watch goes on, and tells the shelf only where it is another. A watch has no
        deadline unless one is named. Raises: as `recommend`.
        """
        request, told = calls.watch_request(who, options), None
        following = self._channel.follow(calls.WATCH_PATH, request, pb.WatchRecommendationsResponse, timeout_s)
        with closing(following) as responses:
            for response in responses:
                shelf = shelf_from(response.shelf)
                if shelf.item_ids != told:
                    yield shelf
                told = shelf.item_ids

    def similar_items(
        self, item_id: str, options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> Shelf:
        """Return what whoever likes this item alone will like; by item-based cosine where no model is named.

        Raises: InvalidRequest, NotFound for an item or a model that is not there.
        """
        return self._answered(calls.similar_items_call(item_id, options), timeout_s)

    def nearest_items(
        self,
        queries: Iterable[str | Numbers],
        space: str = "",
        n: int = 10,
        *,
        filter: ItemFilter | None = None,  # noqa: A002
        exact: bool = False,
        timeout_s: float | None = None,
    ) -> Nearest:
        """Return the items whose embeddings in a space are nearest to each query, by cosine, up to 1000 at once.

        A query is a vector, or the id of an item that has one; it is not in its own list. `space` may be left out where
        there is one alone. `exact` looks at every item even where there is an index that finds almost all.

        Raises: InvalidRequest, also for a vector of another length than the space's; NotFound for the space, or for an
        item that is not there or has no embedding in it.
        """
        made = calls.nearest_calls(queries, space, n, filter, exact)
        return joined([self._answered(call, timeout_s) for call in made])

    def similar_users(self, user_id: str, n: int = 10, *, timeout_s: float | None = None) -> tuple[SimilarUser, ...]:
        """Return users with likes in common, most alike first. Raises: InvalidRequest, NotFound for the user."""
        return self._answered(calls.similar_users_call(user_id, n), timeout_s)

    def item_similarities(self, pairs: Iterable[tuple[str, str]], *, timeout_s: float | None = None) -> list[float]:
        """Return the cosine of each pair of items by who likes them, 0 to 1. Raises: NotFound for an item."""
        return self._compared(calls.similarity_calls(pairs, users=False), timeout_s)

    def user_similarities(self, pairs: Iterable[tuple[str, str]], *, timeout_s: float | None = None) -> list[float]:
        """Return the cosine of each pair of users by what they like, 0 to 1. Raises: NotFound for a user."""
        return self._compared(calls.similarity_calls(pairs, users=True), timeout_s)

    def record(self, interactions: Iterable[Interaction], *, timeout_s: float | None = None) -> Recorded:
        """Record what users did, and return once all of it is on the server's disk and counts in the next answer.

        Sent in batches, acknowledged every 10,000: each such call has `timeout_s`. When this fails, some of it may have
        been recorded: record the same Interactions again, each counts once.

        Raises: InvalidRequest for an id, a value or a time that cannot be: then nothing of its batch of 500, nor what
        comes after it, is recorded. Overloaded, also when the server's disk is full.
        """
        recorded = Recorded()
        for requests in recording_calls(interactions):
            response = self._channel.send(calls.RECORD_PATH, requests, pb.RecordInteractionsResponse, timeout_s)
            recorded += calls.recorded_from(response)
        return recorded

    def upsert_items(self, items: Iterable[Item], *, timeout_s: float | None = None) -> None:
        """Set the attributes of items, all of them anew; up to 5,000 at once. Raises: InvalidRequest."""
        for call in calls.upsert_calls(items):
            self._answered(call, timeout_s)

    def delete_items(self, item_ids: Iterable[str], *, timeout_s: float | None = None) -> None:
        """Delete items with all feedback on them; ids that are not known are passed over."""
        self._answered(calls.delete_call(item_ids), timeout_s)

    def get_item(self, item_id: str, *, timeout_s: float | None = None) -> Item:
        """Return an item's attributes. Raises: NotFound."""
        return self._answered(calls.item_call(item_id), timeout_s)

    def forget_users(self, user_ids: Iterable[str], *, timeout_s: float | None = None) -> int:
        """Forget users: on return no answer, no model and no file knows them. Return how many of them were known.

        Takes as long as copying the database does. Where the call was made again, those that an attempt before it had
        forgotten are not counted.
        """
        return self._answered(calls.forget_call(user_ids), timeout_s)

    def export_user(self, user_id: str, *, timeout_s: float | None = None) -> UserExport:
        """Return everything stored of a user, in the order it came. Raises: NotFound."""
        return self._answered(calls.export_call(user_id), timeout_s)

    def list_experiments(self, *, timeout_s: float | None = None) -> list[Experiment]:
        """Return the experiments that the server runs, and what came of each variant."""
        return self._answered(calls.experiments_call(), timeout_s)

    def models(self, *, timeout_s: float | None = None) -> RecommenderModels:
        """Return the models, and what they have learned."""
        return self._answered(calls.models_call(), timeout_s)

    def _answered(self, call: Call[Answer], timeout_s: float | None) -> Answer:
        return call.read(self._channel.call(call.path, call.request, call.response_type, timeout_s))

    def _compared(self, made: Iterable[Call[list[float]]], timeout_s: float | None) -> list[float]:
        return [similarity for call in made for similarity in self._answered(call, timeout_s)]
