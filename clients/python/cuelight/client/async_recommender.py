"""The recommender for asyncio: the calls, values and errors of `cuelight.client.recommender`."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TypeVar

from cuelight.client import recommender_calls as calls
from cuelight.client.async_channel import AsyncChannel
from cuelight.client.calls import Call
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

__all__ = ["AsyncRecommenderClient"]

Answer = TypeVar("Answer")


class AsyncRecommenderClient:
    """Calls on one recommender, from the tasks of one event loop; each as in `RecommenderClient`."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel

    async def recommend(
        self, who: Who, options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> Shelf:
        """Return what a user, or whoever has a history, will like."""
        [shelf] = await self.recommend_many([who], options, timeout_s=timeout_s)
        return shelf

    async def recommend_many(
        self, whom: Iterable[Who], options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> list[Shelf]:
        """Return a shelf for each, in their order."""
        shelves: list[Shelf] = []
        for call in calls.recommend_calls(whom, options):
            answered = await self._answered(call, timeout_s)
            shelves += answered
        return shelves

    async def watch(
        self, who: Who, options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Shelf, None]:
        """Yield a shelf as it is now and whenever it changes; close the iterator (`aclosing`) to leave early."""
        request, told = calls.watch_request(who, options), None
        following = self._channel.follow(calls.WATCH_PATH, request, pb.WatchRecommendationsResponse, timeout_s)
        async with aclosing(following) as responses:
            async for response in responses:
                shelf = shelf_from(response.shelf)
                if shelf.item_ids != told:
                    yield shelf
                told = shelf.item_ids

    async def similar_items(
        self, item_id: str, options: ShelfOptions | None = None, *, timeout_s: float | None = None
    ) -> Shelf:
        """Return what whoever likes this item alone will like."""
        return await self._answered(calls.similar_items_call(item_id, options), timeout_s)

    async def nearest_items(
        self,
        queries: Iterable[str | Numbers],
        space: str = "",
        n: int = 10,
        *,
        filter: ItemFilter | None = None,  # noqa: A002
        exact: bool = False,
        timeout_s: float | None = None,
    ) -> Nearest:
        """Return the items whose embeddings in a space are nearest to each query."""
        made = calls.nearest_calls(queries, space, n, filter, exact)
        return joined([await self._answered(call, timeout_s) for call in made])

    async def similar_users(
        self, user_id: str, n: int = 10, *, timeout_s: float | None = None
    ) -> tuple[SimilarUser, ...]:
        """Return users with likes in common, most alike first."""
        return await self._answered(calls.similar_users_call(user_id, n), timeout_s)

    async def item_similarities(
        self, pairs: Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[float]:
        """Return the cosine of each pair of items."""
        return await self._compared(calls.similarity_calls(pairs, users=False), timeout_s)

    async def user_similarities(
        self, pairs: Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[float]:
        """Return the cosine of each pair of users."""
        return await self._compared(calls.similarity_calls(pairs, users=True), timeout_s)

    async def record(self, interactions: Iterable[Interaction], *, timeout_s: float | None = None) -> Recorded:
        """Record what users did, and return once all of it is on the server's disk and counts in the next answer."""
        recorded = Recorded()
        for requests in recording_calls(interactions):
            response = await self._channel.send(calls.RECORD_PATH, requests, pb.RecordInteractionsResponse, timeout_s)
            recorded += calls.recorded_from(response)
        return recorded

    async def upsert_items(self, items: Iterable[Item], *, timeout_s: float | None = None) -> None:
        """Set the attributes of items, all of them anew."""
        for call in calls.upsert_calls(items):
            await self._answered(call, timeout_s)

    async def delete_items(self, item_ids: Iterable[str], *, timeout_s: float | None = None) -> None:
        """Delete items with all feedback on them."""
        await self._answered(calls.delete_call(item_ids), timeout_s)

    async def get_item(self, item_id: str, *, timeout_s: float | None = None) -> Item:
        """Return an item's attributes."""
        return await self._answered(calls.item_call(item_id), timeout_s)

    async def forget_users(self, user_ids: Iterable[str], *, timeout_s: float | None = None) -> int:
        """Forget users, and return how many of them were known."""
        return await self._answered(calls.forget_call(user_ids), timeout_s)

    async def export_user(self, user_id: str, *, timeout_s: float | None = None) -> UserExport:
        """Return everything stored of a user."""
        return await self._answered(calls.export_call(user_id), timeout_s)

    async def list_experiments(self, *, timeout_s: float | None = None) -> list[Experiment]:
        """Return the experiments that the server runs, and what came of each variant."""
        return await self._answered(calls.experiments_call(), timeout_s)

    async def models(self, *, timeout_s: float | None = None) -> RecommenderModels:
        """Return the models, and what they have learned."""
        return await self._answered(calls.models_call(), timeout_s)

    async def _answered(self, call: Call[Answer], timeout_s: float | None) -> Answer:
        return call.read(await self._channel.call(call.path, call.request, call.response_type, timeout_s))

    async def _compared(self, made: Iterable[Call[list[float]]], timeout_s: float | None) -> list[float]:
        similarities: list[float] = []
        for call in made:
            answered = await self._answered(call, timeout_s)
            similarities += answered
        return similarities
