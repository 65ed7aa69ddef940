"""A recommender that notes what it is asked and answers what is known beforehand; and both clients, called alike.

`refusals` are given out before anything else, one a call: a code, and a retry hint or None. A shelf holds `shelf`; who
watches is told `script`, one shelf after the other, and then each that is put.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.client import AsyncChannel, AsyncRecommenderClient, Channel, RecommenderClient, RetryPolicy
from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc

Context = grpc.ServicerContext
QUICK = RetryPolicy(max_attempts=3, initial_backoff_s=0.001)


@dataclass
class FakeRecommender(pb_grpc.RecommenderServiceServicer):
    """`breaks_after`: messages after which a recording call breaks, once; what came before is kept."""

    refusals: list[tuple[grpc.StatusCode, str | None]] = field(default_factory=list)
    breaks_after: int | None = None
    shelf: list[str] = field(default_factory=lambda: ["a", "b"])
    seed: int = 0
    variant: str = ""
    explored: set[str] = field(default_factory=set)
    script: list[list[str]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    events: dict[str, pb.Interaction] = field(default_factory=dict)
    items: dict[str, pb.Item] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    came: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def put(self, *shelf: str) -> None:
        """Change the shelf; those who watch are told."""
        with self.changed:
            self.shelf = list(shelf)
            self.changed.notify_all()

    def Recommend(self, request: pb.RecommendRequest, context: Context) -> pb.RecommendResponse:
        self._ask(request, context)
        return pb.RecommendResponse(shelves=[self._shelf(query.user_id) for query in request.queries])

    def WatchRecommendations(
        self, request: pb.WatchRecommendationsRequest, context: Context
    ) -> Iterator[pb.WatchRecommendationsResponse]:
        context.add_callback(self._leave)
        self._ask(request, context)
        while context.is_active():
            told = self.shelf
            yield pb.WatchRecommendationsResponse(shelf=self._shelf("watched"))
            self._wait_for_other_than(told, context)
            if self.refusals:
                self._ask(request, context)

    def SimilarItems(self, request: pb.SimilarItemsRequest, context: Context) -> pb.SimilarItemsResponse:
        self._ask(request, context)
        return pb.SimilarItemsResponse(shelf=self._shelf(request.item_id))

    def NearestItems(self, request: pb.NearestItemsRequest, context: Context) -> pb.NearestItemsResponse:
        self._ask(request, context)
        nearest = [pb.NearestItem(item_id=item, cosine=0.5) for item in self.shelf]
        return pb.NearestItemsResponse(lists=[pb.NearestList(items=nearest) for _ in request.queries], exact=True)

    def ListExperiments(self, request: pb.ListExperimentsRequest, context: Context) -> pb.ListExperimentsResponse:
        self._ask(request, context)
        variants = [pb.Variant(name="control", share=1.0, users=3, shelves=9, likes=2, hits=1)]
        return pb.ListExperimentsResponse(experiments=[pb.Experiment(name="trial", variants=variants)])

    def SimilarUsers(self, request: pb.SimilarUsersRequest, context: Context) -> pb.SimilarUsersResponse:
        self._ask(request, context)
        return pb.SimilarUsersResponse(users=[pb.SimilarUser(user_id="twin", similarity=0.5)])

    def Similarity(self, request: pb.SimilarityRequest, context: Context) -> pb.SimilarityResponse:
        self._ask(request, context)
        kinds = [pair.WhichOneof("of") for pair in request.pairs]
        return pb.SimilarityResponse(similarities=[0.25 if kind == "items" else 0.75 for kind in kinds])

    def RecordInteractions(
        self, requests: Iterator[pb.RecordInteractionsRequest], context: Context
    ) -> pb.RecordInteractionsResponse:
        call: list[pb.RecordInteractionsRequest] = []
        self._ask(call, context)
        told, known = 0, len(self.events)
        for request in requests:
            call.append(request)
            told += len(request.interactions)
            self.events.update((event.event_id, event) for event in request.interactions)
            if len(call) == self.breaks_after:
                self.breaks_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        recorded = len(self.events) - known
        return pb.RecordInteractionsResponse(recorded=recorded, duplicates=told - recorded)

    def UpsertItems(self, request: pb.UpsertItemsRequest, context: Context) -> pb.UpsertItemsResponse:
        self._ask(request, context)
        self.items.update((item.item_id, item) for item in request.items)
        return pb.UpsertItemsResponse()

    def DeleteItems(self, request: pb.DeleteItemsRequest, context: Context) -> pb.DeleteItemsResponse:
        self._ask(request, context)
        return pb.DeleteItemsResponse()

    def GetItem(self, request: pb.GetItemRequest, context: Context) -> pb.GetItemResponse:
        self._ask(request, context)
        if request.item_id not in self.items:
            context.abort(grpc.StatusCode.NOT_FOUND, f'item "{request.item_id}": not known')
        return pb.GetItemResponse(item=self.items[request.item_id])

    def ForgetUsers(self, request: pb.ForgetUsersRequest, context: Context) -> pb.ForgetUsersResponse:
        self._ask(request, context)
        return pb.ForgetUsersResponse(forgotten=len(request.user_ids))

    def ExportUser(self, request: pb.ExportUserRequest, context: Context) -> pb.ExportUserResponse:
        self._ask(request, context)
        part = pb.Exposure(experiment="trial", variant="control", first_time=Timestamp(seconds=5), shelves=2)
        shown = [pb.ShownItem(experiment="trial", item_id=item, first_time=Timestamp(seconds=6)) for item in self.shelf]
        return pb.ExportUserResponse(interactions=self.events.values(), exposures=[part], shown=shown)

    def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        self._ask(request, context)
        models = [pb.Model(name="ease", ready=True), pb.Model(name="als", detail="being fitted")]
        return pb.ListModelsResponse(models=models, version=7, users=3, items=2, events=5)

    def _ask(self, request: Any, context: Context) -> None:
        self.asked.append(request)
        self.came.set()
        if self.refusals:
            code, pushback_ms = self.refusals.pop(0)
            if pushback_ms is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback_ms),))
            context.abort(code, "not now")

    def _shelf(self, model: str) -> pb.Shelf:
        """Return the shelf, made by a model that has the name of the asking user."""
        reasons = [pb.Reason(share=0.75, item_id="liked"), pb.Reason(share=0.25, feature="popularity")]
        items = [
            pb.Recommendation(item_id=item, score=1.0, reasons=reasons, explored=item in self.explored)
            for item in self.shelf
        ]
        return pb.Shelf(items=items, model=model, model_version=9, seed=self.seed, variant=self.variant)

    def _wait_for_other_than(self, told: list[str], context: Context) -> None:
        with self.changed:
            if self.script:
                self.shelf = self.script.pop(0)
            self.waits.set()
            self.changed.wait_for(lambda: self.shelf is not told or not context.is_active())

    def _leave(self) -> None:
        self.left.set()
        with self.changed:
            self.changed.notify_all()


@contextmanager
def served(fake: FakeRecommender) -> Iterator[str]:
    """Serve a fake on a free port; yield its address."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    pb_grpc.add_RecommenderServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextmanager
def sync_client(address: str, retries: RetryPolicy = QUICK) -> Iterator[RecommenderClient]:
    """Yield the client of threads."""
    with Channel(address, retries=retries) as channel:
        yield RecommenderClient(channel)


@contextmanager
def aio_client(address: str, retries: RetryPolicy = QUICK) -> Iterator[RecommenderClient]:
    """Yield the client of asyncio, each of its calls run to its end in a loop of its own."""
    with asyncio.Runner() as runner:
        channel = runner.run(_made(lambda: AsyncChannel(address, retries=retries)))
        try:
            yield cast(RecommenderClient, _Blocking(AsyncRecommenderClient(channel), runner))
        finally:
            runner.run(channel.close())


CLIENTS = (sync_client, aio_client)


class _Blocking:
    """Looks like `RecommenderClient`, and calls the one of asyncio."""

    def __init__(self, client: AsyncRecommenderClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            made = getattr(self._client, name)(*arguments, **options)
            return self._iterated(made) if inspect.isasyncgen(made) else self._runner.run(made)

        return call

    def _iterated(self, values: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(values, None)

        try:
            while (value := self._runner.run(following())) is not None:
                yield value
        finally:
            self._runner.run(values.aclose())


async def _made(make: Callable[[], AsyncChannel]) -> AsyncChannel:
    return make()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run an asyncio scenario, for half a minute at most."""
    asyncio.run(asyncio.wait_for(scenario, 30.0))
