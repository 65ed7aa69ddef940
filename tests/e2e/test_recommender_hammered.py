"""Filters, seen-exclusion and reasons hold while many callers change everything they depend on, on both fronts.

Writers own what they change, a user or some items each, so that what was acknowledged has an order; readers ask for
shelves of several models, filters and users at once, and every answer is judged by `hammered_world`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import grpc
import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from tests.e2e.hammered_world import ITEMS, MORTAL, TAGS, USERS, World
from tests.serve_process import FRONTS, running_recommender

STORM_S = 8.0
TIMEOUT_S = 30.0
MODELS = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "hybrid")
FIRST_TIME_S = 1_700_000_000


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_no_answer_is_wrong_while_everything_changes(front: str, tmp_path: Path) -> None:
    with running_recommender(tmp_path / "data", tmp_path / "log", front=front) as server:
        storm = asyncio.run(Storm(server.target).blow())
        print(f"\n{front}: {storm.world.answers} shelves judged, {storm.changes} changes, {storm.not_ready} not ready")
        log = server.whole_log()

    assert storm.world.answers > 100
    assert storm.changes > 100
    assert "Traceback" not in log


class Storm:
    """Callers of one server. One event loop owns it."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._event = count()
        self._stopped = False
        self.world = World()
        self.changes = 0
        self.not_ready = 0
        """How many answers were that ALS is being fitted, which is so after somebody was forgotten."""

    async def blow(self) -> "Storm":
        """Fill an empty server, let everybody loose for a while, and compare what watchers saw last."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            self._stub = pb_grpc.RecommenderServiceStub(channel)
            await self._fill()
            watches = [Watch(self, user, seed) for seed, user in enumerate(USERS[:3])]
            async with asyncio.TaskGroup() as everybody:
                watching = [everybody.create_task(watch.look()) for watch in watches]
                async with asyncio.TaskGroup() as busy:
                    busy.create_task(self._stop_in_time())
                    for seed, users in enumerate((USERS[::3], USERS[1::3], USERS[2::3])):
                        self._repeat(busy, self._change_user, seed, users)
                    for seed, items in enumerate((ITEMS[::2], ITEMS[1::2])):
                        self._repeat(busy, self._upsert, seed, items)
                    self._repeat(busy, self._delete, 0, MORTAL)
                    for seed in range(8):
                        self._repeat(busy, self._ask, seed, ())
                for watch in watches:
                    await watch.sees_at_last()
                for task in watching:
                    task.cancel()
        return self

    def _repeat(
        self,
        group: asyncio.TaskGroup,
        act: Callable[[random.Random, Sequence[str]], Awaitable[None]],
        seed: int,
        owned: Sequence[str],
    ) -> None:
        async def repeat() -> None:
            generator = random.Random(f"{act.__name__} {seed}")
            while not self._stopped:
                await act(generator, owned)

        group.create_task(repeat())

    async def _stop_in_time(self) -> None:
        await asyncio.sleep(STORM_S)
        self._stopped = True

    async def _fill(self) -> None:
        generator = random.Random(0)
        await self._upsert_all([described(item, generator) for item in (*ITEMS, *MORTAL)])
        for user in USERS:
            for item in generator.sample((*ITEMS, *MORTAL), 8):
                await self._tell(user, item, liked=True)

    async def _change_user(self, generator: random.Random, owned: Sequence[str]) -> None:
        """Like something, take it back, or ask to be forgotten."""
        user, item, what = generator.choice(owned), generator.choice(ITEMS), generator.random()
        if what < 0.05:
            await self._forget(user)
        else:
            await self._tell(user, item, liked=what < 0.75)

    async def _tell(self, user: str, item: str, liked: bool) -> None:
        number = next(self._event)
        told = pb.Interaction(event_id=f"e{number}", user_id=user, item_id=item)
        told.time.FromSeconds(FIRST_TIME_S + number)
        if liked:
            told.value = 1.0
        else:
            told.withdrawn = True
        change = self.world.likes[user, item].set(liked, self.world.moments.now())
        requests = iter([pb.RecordInteractionsRequest(interactions=[told])])
        recorded = await self._stub.RecordInteractions(requests, timeout=TIMEOUT_S)
        assert recorded.recorded == 1
        change.ended = self.world.moments.now()
        self.changes += 1

    async def _forget(self, user: str) -> None:
        began = self.world.moments.now()
        changes = [self.world.likes[user, item].set(False, began) for item in (*ITEMS, *MORTAL)]
        await self._stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=[user]), timeout=TIMEOUT_S)
        for change in changes:
            change.ended = self.world.moments.now()
        self.changes += 1

    async def _upsert(self, generator: random.Random, owned: Sequence[str]) -> None:
        await self._upsert_all([described(item, generator) for item in generator.sample(owned, 4)])

    async def _upsert_all(self, items: Sequence[pb.Item]) -> None:
        began = self.world.moments.now()
        changes = [self.world.items[item.item_id].set(item, began) for item in items]
        await self._stub.UpsertItems(pb.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)
        for change in changes:
            change.ended = self.world.moments.now()
        self.changes += 1

    async def _delete(self, generator: random.Random, owned: Sequence[str]) -> None:
        """Delete some items, and bring some of them back."""
        gone = generator.sample(owned, 3)
        began = self.world.moments.now()
        deleted = [self.world.items[item].set(None, began) for item in gone]
        unliked = [self.world.likes[user, item].set(False, began) for user in USERS for item in gone]
        await self._stub.DeleteItems(pb.DeleteItemsRequest(item_ids=gone), timeout=TIMEOUT_S)
        ended = self.world.moments.now()
        for item_change in deleted:
            item_change.ended = ended
        for change in unliked:
            change.ended = ended
        self.changes += 1
        await self._upsert_all([described(item, generator) for item in gone[1:]])

    async def _ask(self, generator: random.Random, _: Sequence[str]) -> None:
        """Ask for shelves, or for what is like an item, or for an item."""
        options, what, item = wanted(generator), generator.random(), generator.choice((*ITEMS, *MORTAL))
        began = self.world.moments.now()
        try:
            if what < 0.7:
                users = generator.sample(USERS, 3)
                history = generator.sample(ITEMS, 3)
                queries = [*(pb.Query(user_id=user) for user in users), pb.Query(history=history_of(history))]
                request = pb.RecommendRequest(queries=queries, options=options)
                shelves = (await self._stub.Recommend(request, timeout=TIMEOUT_S)).shelves
                ended = self.world.moments.now()
                for user, shelf in zip((*users, None), shelves, strict=True):
                    self.world.judge(shelf, user, history, options, began, ended)
            elif what < 0.85:
                options.include_seen = False
                similar = pb.SimilarItemsRequest(item_id=item, options=options)
                shelf = (await self._stub.SimilarItems(similar, timeout=TIMEOUT_S)).shelf
                self.world.judge(shelf, None, [item], options, began, self.world.moments.now())
            else:
                found = (await self._stub.GetItem(pb.GetItemRequest(item_id=item), timeout=TIMEOUT_S)).item
                assert found in self.world.items[item].possible(began, self.world.moments.now())
        except grpc.aio.AioRpcError as error:
            self._expect(error, item, began)

    def _expect(self, error: grpc.aio.AioRpcError, item: str, began: float) -> None:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            assert error.details() == f'item "{item}": not known'
            assert None in self.world.items[item].possible(began, self.world.moments.now())
        else:
            assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, 'model "als": being fitted')
            self.not_ready += 1


class Watch:
    """One who watches the shelf of a user."""

    def __init__(self, storm: Storm, user: str, seed: int) -> None:
        self._storm = storm
        self._query = pb.Query(user_id=user)
        self._options = wanted(random.Random(f"watch {seed}"))
        self._options.model = "item_cosine"
        self._last: list[str] = []
        self._changed = asyncio.Event()

    async def look(self) -> None:
        """Judge each shelf as it comes; it was made at some time since the watch began."""
        world, request = self._storm.world, pb.WatchRecommendationsRequest(query=self._query, options=self._options)
        began = world.moments.now()
        watch = self._storm._stub.WatchRecommendations(request)
        with suppress(asyncio.CancelledError):
            async for response in watch:
                world.judge(response.shelf, self._query.user_id, [], self._options, began, world.moments.now())
                self._last = [item.item_id for item in response.shelf.items]
                self._changed.set()

    async def sees_at_last(self) -> None:
        """Return once it has seen what is now recommended, when nothing changes any more."""
        request = pb.RecommendRequest(queries=[self._query], options=self._options)
        [shelf] = (await self._storm._stub.Recommend(request, timeout=TIMEOUT_S)).shelves
        async with asyncio.timeout(TIMEOUT_S):
            while self._last != [item.item_id for item in shelf.items]:
                self._changed.clear()
                await self._changed.wait()


def described(item: str, generator: random.Random) -> pb.Item:
    """Return an item with tags, perhaps a year, perhaps not available."""
    numbers = {"year": float(generator.randint(1990, 1999))} if generator.random() < 0.8 else {}
    tags = sorted(generator.sample(TAGS, generator.randint(0, 3)))
    return pb.Item(item_id=item, tags=tags, numbers=numbers, unavailable=generator.random() < 0.3)


def wanted(generator: random.Random) -> pb.ShelfOptions:
    """Return options with any kind of filter."""
    filters = (
        pb.Filter(any_tags=generator.sample(TAGS, 2)),
        pb.Filter(all_tags=generator.sample(TAGS, 2)),
        pb.Filter(none_tags=generator.sample(TAGS, 2)),
        pb.Filter(ranges=[pb.Range(name="year", min=1993, max=1996)]),
        pb.Filter(any_tags=TAGS[:2], none_tags=TAGS[2:3], ranges=[pb.Range(name="year", min=1992)]),
        pb.Filter(include_unavailable=True),
        pb.Filter(),
    )
    return pb.ShelfOptions(
        model=generator.choice(MODELS),
        n=generator.choice((0, 3, 100)),
        filter=generator.choice(filters),
        include_seen=generator.random() < 0.2,
        explain=generator.random() < 0.5,
        diversity=0.0,
    )


def history_of(items: Sequence[str]) -> pb.History:
    """Return a history that comes with the call."""
    return pb.History(items=[pb.LikedItem(item_id=item) for item in items])
