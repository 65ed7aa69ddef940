"""RecommenderService: thin, from messages to the live recommender and back."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.errors import InvalidRequest, ShuttingDown
from cuelight.server.recommender.experiments.experiments import Experiments, OptionsByQuery
from cuelight.server.recommender.experiments.messages import experiments_message, export_message
from cuelight.server.recommender.limits import MAX_EVENTS_A_MESSAGE, MAX_ITEMS_A_CALL, check_at_most
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.messages import (
    attributes_of,
    embeddings_of,
    event_of,
    item_message,
    nearest_message,
    nearest_question_of,
    options_of,
    query_of,
    shelf_message,
)
from cuelight.server.recommender.portions import portions
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions, check_n
from cuelight.server.recommender.store.events import check_id
from cuelight.server.recommender.store.exposures import VariantKey
from cuelight.server.recommender.writes import DeleteItems, ForgetUsers, Record, UpsertItems
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor

__all__ = ["RecommenderServicer", "recommender_service"]

_MAX_AT_ONCE = 1000
_MAX_ITEMS = 100_000
_EVENTS_A_WRITE = 500
"""So many are stored and learned at once; others' come in between."""


def recommender_service(servicer: "RecommenderServicer") -> Service:
    """Return the table that the fronts mount."""
    return service_from_descriptor(pb.DESCRIPTOR.services_by_name["RecommenderService"], servicer)


class RecommenderServicer:
    """Translates. `changes` is notified when the recommender has learned something."""

    def __init__(self, recommender: LiveRecommender, changes: Changes, experiments: Experiments) -> None:
        self._recommender = recommender
        self._changes = changes
        self._experiments = experiments
        self._closed = False

    async def Recommend(self, request: pb.RecommendRequest, context: RpcContext) -> pb.RecommendResponse:
        """Return shelves; see the proto for its errors."""
        _check_count("queries", len(request.queries))
        options = OptionsByQuery(request.options, self._experiments)
        queries = [query_of(query) for query in request.queries]
        asked = [options.of(query) for query in queries]
        keys = [key for _, key in asked]
        with self._recommender.exposures.watching_all(
            [query.user for query, key in zip(queries, keys, strict=True) if key is not None]
        ) as watched:
            shelves = [shelf async for shelf in self._shelves(queries, asked)]
        forgotten = {watch.user for watch in watched if watch.forgotten}
        for query, key, (shelf, _) in zip(queries, keys, shelves, strict=True):
            if query.user not in forgotten:
                self._note(query, key, shelf)
        return pb.RecommendResponse(shelves=[message for _, message in shelves])

    async def WatchRecommendations(
        self, request: pb.WatchRecommendationsRequest, context: RpcContext
    ) -> AsyncGenerator[pb.WatchRecommendationsResponse, None]:
        """Yield a shelf whenever it changes; see the proto for its errors."""
        query = query_of(request.query)
        options, key = OptionsByQuery(request.options, self._experiments).of(query)
        sent: list[str] | None = None
        with self._recommender.exposures.watching(query.user) as watched:
            while not self._closed:
                changed = self._changes.next()
                shelf = await self._recommender.watched(query, options)
                items = [item.item for item in shelf.items]
                if items != sent:
                    if not watched.forgotten:
                        self._note(query, key, shelf)
                    yield pb.WatchRecommendationsResponse(shelf=shelf_message(shelf, key))
                    sent = items
                await changed.wait()
        raise ShuttingDown("the server is shutting down")

    async def SimilarItems(self, request: pb.SimilarItemsRequest, context: RpcContext) -> pb.SimilarItemsResponse:
        """Return items like one; see the proto for its errors."""
        _check_no_user(request.options)
        options = options_of(request.options, default_model="")
        item = check_id("item_id", request.item_id)
        shelf = await self._recommender.ask_models(lambda models: models.similar_items(item, options))
        return pb.SimilarItemsResponse(shelf=shelf_message(shelf))

    async def NearestItems(self, request: pb.NearestItemsRequest, context: RpcContext) -> pb.NearestItemsResponse:
        """Return items near to vectors; see the proto for its errors."""
        _check_count("queries", len(request.queries))
        return nearest_message(await self._recommender.nearest(nearest_question_of(request)))

    async def SimilarUsers(self, request: pb.SimilarUsersRequest, context: RpcContext) -> pb.SimilarUsersResponse:
        """Return users like one; see the proto for its errors."""
        n, user = check_n(request.n), check_id("user_id", request.user_id)
        found = await self._recommender.ask_models(lambda models: models.similar_users(user, n))
        users = (pb.SimilarUser(user_id=other, similarity=similarity) for other, similarity in found)
        return pb.SimilarUsersResponse(users=users)

    async def Similarity(self, request: pb.SimilarityRequest, context: RpcContext) -> pb.SimilarityResponse:
        """Return how alike pairs are; see the proto for its errors."""
        _check_count("pairs", len(request.pairs))
        similarities = await self._recommender.ask_models(
            lambda models: [_similarity(models, pair) for pair in request.pairs]
        )
        return pb.SimilarityResponse(similarities=similarities)

    async def RecordInteractions(
        self, requests: AsyncIterator[pb.RecordInteractionsRequest], context: RpcContext
    ) -> pb.RecordInteractionsResponse:
        """Record events and acknowledge all of them at the end; see the proto for its errors."""
        told = recorded = 0
        async for request in requests:
            check_at_most("interactions", len(request.interactions), MAX_EVENTS_A_MESSAGE)
            now_s = time.time()
            events = [event_of(message, now_s, self._recommender.plain_like) for message in request.interactions]
            for start in range(0, len(events), _EVENTS_A_WRITE):
                recorded += await self._recommender.write(Record(events[start : start + _EVENTS_A_WRITE]))
            told += len(events)
        return pb.RecordInteractionsResponse(recorded=recorded, duplicates=told - recorded)

    async def UpsertItems(self, request: pb.UpsertItemsRequest, context: RpcContext) -> pb.UpsertItemsResponse:
        """Set attributes; see the proto for its errors."""
        check_at_most("items", len(request.items), MAX_ITEMS_A_CALL)
        items = {message.item_id: attributes_of(message) for message in request.items}
        if len(items) < len(request.items):
            raise InvalidRequest("items: expected each item_id once, got one twice")
        embeddings = {message.item_id: embeddings_of(message) for message in request.items if message.embeddings}
        await self._recommender.write(UpsertItems(items, embeddings))
        return pb.UpsertItemsResponse()

    async def DeleteItems(self, request: pb.DeleteItemsRequest, context: RpcContext) -> pb.DeleteItemsResponse:
        """Delete items; see the proto for its errors."""
        await self._recommender.write(DeleteItems(tuple(request.item_ids)))
        return pb.DeleteItemsResponse()

    async def GetItem(self, request: pb.GetItemRequest, context: RpcContext) -> pb.GetItemResponse:
        """Return an item; see the proto for its errors."""
        item = check_id("item_id", request.item_id)
        attributes, embeddings = await self._recommender.ask_models(lambda models: models.description_of(item))
        return pb.GetItemResponse(item=item_message(item, attributes, embeddings))

    async def ForgetUsers(self, request: pb.ForgetUsersRequest, context: RpcContext) -> pb.ForgetUsersResponse:
        """Forget users; see the proto for its errors."""
        forgotten = await self._recommender.write(ForgetUsers(tuple(request.user_ids)))
        return pb.ForgetUsersResponse(forgotten=forgotten)

    async def ExportUser(self, request: pb.ExportUserRequest, context: RpcContext) -> pb.ExportUserResponse:
        """Return everything stored of a user; see the proto for its errors."""
        user = check_id("user_id", request.user_id)
        return await self._recommender.ask_store(lambda store: export_message(store, user))

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return the models and what they have learned."""
        events = await self._recommender.ask_store(lambda store: store.count_events())
        details, version, (users, items) = await self._recommender.ask_models(
            lambda models: (models.details(), models.version, models.counts())
        )
        listed = (pb.Model(name=name, ready=not detail, detail=detail) for name, detail in details.items())
        return pb.ListModelsResponse(models=listed, version=version, users=users, items=items, events=events)

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: RpcContext
    ) -> pb.ListExperimentsResponse:
        """Return the experiments and what came of them."""
        counts = await self._recommender.outcomes()
        return experiments_message(self._experiments.shares, counts)

    async def _shelves(
        self, queries: Sequence[Query], asked: Sequence[tuple[ShelfOptions, VariantKey | None]]
    ) -> AsyncIterator[tuple[Shelf, pb.Shelf]]:
        """Yield shelves and their messages, a portion at a time: others are served in between."""
        options = [how for how, _ in asked]
        _check_items(sum(how.n for how in options))
        if len(queries) == 1:  # as most are: without a task for it
            shelf = await self._recommender.recommend(queries[0], options[0])
            yield shelf, shelf_message(shelf, asked[0][1])
            return
        for part in portions(options):
            shelves = await asyncio.gather(*map(self._recommender.recommend, queries[part], options[part]))
            for shelf, (_, key) in zip(shelves, asked[part], strict=True):
                yield shelf, shelf_message(shelf, key)

    def _note(self, query: Query, key: VariantKey | None, shelf: Shelf) -> None:
        if key is not None and query.user is not None:
            self._recommender.exposures.note(key, query.user, [item.item for item in shelf.items], time.time())

    def close(self) -> None:
        """End every watch: the server is about to leave."""
        self._closed = True
        self._changes.notify()


def _similarity(models: LiveModels, pair: pb.Pair) -> float:
    match pair.WhichOneof("of"):
        case "items":
            return models.similarity_of_items(*_ids_of("item_id", pair.items))
        case "users":
            return models.similarity_of_users(*_ids_of("user_id", pair.users))
        case _:
            raise InvalidRequest("pair: expected items or users, got neither")


def _ids_of(what: str, pair: pb.IdPair) -> tuple[str, str]:
    return check_id(what, pair.first_id), check_id(what, pair.second_id)


def _check_no_user(options: pb.ShelfOptions) -> None:
    """Refuse what is about a user where there is none."""
    if options.include_seen:
        raise InvalidRequest("include_seen: expected false, an item is not similar to itself")
    if options.HasField("exclude_seen_since"):
        raise InvalidRequest("exclude_seen_since: expected none, an item has seen nothing")
    if options.experiment:
        raise InvalidRequest(f'experiment: expected none, an item has no variant, got "{options.experiment}"')


def _check_items(count: int) -> None:
    if count > _MAX_ITEMS:
        raise InvalidRequest(f"queries: expected shelves of {_MAX_ITEMS} items together at most, got {count}")


def _check_count(name: str, count: int) -> None:
    if not 1 <= count <= _MAX_AT_ONCE:
        raise InvalidRequest(f"{name}: expected 1 to {_MAX_AT_ONCE}, got {count}")
