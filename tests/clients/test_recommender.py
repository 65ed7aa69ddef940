"""The recommender's clients against a server whose answers are known: both make the same calls."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, aclosing
from typing import Any

import grpc
import pytest

from cuelight.client import (
    AsyncChannel,
    AsyncRecommenderClient,
    Boost,
    DeadlineExceeded,
    Interaction,
    InvalidRequest,
    Item,
    ItemFilter,
    Nearest,
    NearItem,
    NotFound,
    NumberRange,
    Overloaded,
    Reason,
    Recommendation,
    RecommenderClient,
    RecommenderModels,
    Recorded,
    RetryPolicy,
    Shelf,
    ShelfOptions,
    SimilarUser,
    Unavailable,
)
from cuelight.recommender.v1 import recommender_pb2 as pb
from tests.clients.fake_recommender import CLIENTS, QUICK, FakeRecommender, run, served, sync_client

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
WAIT_S = 30.0


@pytest.fixture
def fake() -> FakeRecommender:
    return FakeRecommender()


@pytest.fixture(params=CLIENTS, ids=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, fake: FakeRecommender) -> Iterator[RecommenderClient]:
    made: Callable[[str], AbstractContextManager[RecommenderClient]] = request.param
    with served(fake) as address, made(address) as connected:
        yield connected


def likes(count: int) -> list[Interaction]:
    return [Interaction(f"user {number}", "item") for number in range(count)]


def sizes(call: list[pb.RecordInteractionsRequest]) -> list[int]:
    return [len(message.interactions) for message in call]


def test_a_shelf_is_a_plain_value_with_its_reasons(client: RecommenderClient) -> None:
    reasons = (Reason(0.75, item_id="liked"), Reason(0.25, feature="popularity"))

    shelf = client.recommend("user 7")

    items = (Recommendation("a", 1.0, reasons), Recommendation("b", 1.0, reasons))
    assert shelf == Shelf(items, model="user 7", model_version=9, cold=False)
    assert shelf.item_ids == ("a", "b")


def test_options_are_sent_as_they_are_said(client: RecommenderClient, fake: FakeRecommender) -> None:
    ranges = (NumberRange("year", min=1980), NumberRange("price", max=0.0))
    conditions = ItemFilter(("rock",), ("live",), ("sad",), ranges, include_unavailable=True)
    options = ShelfOptions(
        blend={"ease": 1.0, "als": -0.5}, n=3, filter=conditions, include_seen=True, diversity=0.5, explain=True
    )

    client.recommend("u", options)

    [request] = fake.asked
    assert request == pb.RecommendRequest(
        queries=[pb.Query(user_id="u")],
        options=pb.ShelfOptions(
            blend=pb.Blend(weights={"ease": 1.0, "als": -0.5}),
            n=3,
            filter=pb.Filter(
                any_tags=["rock"],
                all_tags=["live"],
                none_tags=["sad"],
                ranges=[pb.Range(name="year", min=1980), pb.Range(name="price", max=0.0)],
                include_unavailable=True,
            ),
            include_seen=True,
            diversity=0.5,
            explain=True,
        ),
    )


def test_a_history_comes_with_the_call_weighed_or_not(client: RecommenderClient, fake: FakeRecommender) -> None:
    client.recommend_many([["i", "j", "i"], {"k": 2.0}])

    [request] = fake.asked
    [plain, weighed] = [{item.item_id: item.weight for item in query.history.items} for query in request.queries]
    assert (plain, weighed) == ({"i": 1.0, "j": 1.0}, {"k": 2.0})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda client: client.recommend({"i": 0.0}),
        lambda client: client.recommend("u", ShelfOptions(n=0)),
        lambda client: client.recommend("u", ShelfOptions(model="ease", blend={"als": 1.0})),
        lambda client: client.recommend("u", ShelfOptions(exclude_item_ids="item 7")),
        lambda client: client.recommend("u", ShelfOptions(boosts=(Boost("sale", factor=2.0),))),
    ],
    ids=["a weight of 0", "n of 0", "a model and a blend", "a text for ids", "a boost of nothing"],
)
def test_what_the_wire_cannot_say_is_refused_here(
    client: RecommenderClient, fake: FakeRecommender, wrong: Callable[[RecommenderClient], Any]
) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        wrong(client)

    assert fake.asked == []


def test_more_than_a_call_takes_are_several_calls(client: RecommenderClient, fake: FakeRecommender) -> None:
    whom = [f"user {number}" for number in range(2500)]

    shelves = client.recommend_many(whom)
    similarities = client.item_similarities([("a", "b")] * 1001)

    assert [shelf.model for shelf in shelves] == whom
    assert similarities == [0.25] * 1001
    counts = [len(request.queries) for request in fake.asked[:3]] + [len(request.pairs) for request in fake.asked[3:]]
    assert counts == [1000, 1000, 500, 1000, 1]


def test_nobody_and_nothing_make_no_call(client: RecommenderClient, fake: FakeRecommender) -> None:
    assert (client.recommend_many([]), client.record([]), client.user_similarities([])) == ([], Recorded(), [])
    assert fake.asked == []


def test_what_is_alike(client: RecommenderClient, fake: FakeRecommender) -> None:
    assert client.similar_items("i", ShelfOptions(model="ease")).model == "i"
    assert client.similar_users("u", 5) == (SimilarUser("twin", 0.5),)
    assert client.user_similarities([("u", "v")]) == [0.75]
    assert [fake.asked[0].options.model, fake.asked[1].n] == ["ease", 5]


def test_what_is_near_is_a_list_for_each_query(client: RecommenderClient, fake: FakeRecommender) -> None:
    queries: list[str | tuple[float, ...]] = ["i", (0.5, -1.0), *(str(number) for number in range(1000))]

    nearest = client.nearest_items(queries, "text", 3, filter=ItemFilter(any_tags=("rock",)), exact=True)

    assert nearest == Nearest(((NearItem("a", 0.5), NearItem("b", 0.5)),) * 1002, exact=True)
    first, second = fake.asked
    assert (len(first.queries), len(second.queries)) == (1000, 2)
    assert first.queries[:2] == [
        pb.NearestQuery(item_id="i"),
        pb.NearestQuery(embedding=pb.Embedding(values=[0.5, -1.0])),
    ]
    assert (first.space, first.n, first.exact, first.filter) == ("text", 3, True, pb.Filter(any_tags=["rock"]))


def test_interactions_are_sent_in_batches_and_come_back_as_they_were(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    told = [
        Interaction("u", "i"),
        Interaction("u", "j", value=0.0, time_s=1_700_000_000.25, event_id="mine"),
        Interaction("u", "j", withdrawn=True, time_s=0.0),
        *likes(12_000),
    ]

    recorded = client.record(iter(told))

    assert recorded == Recorded(recorded=12_003, duplicates=0)
    assert [sizes(call) for call in fake.asked] == [[500] * 20, [500] * 4 + [3]]
    assert not fake.events[told[0].event_id].HasField("time")
    assert client.export_user("u").interactions[:4] == tuple(told[:4])


def test_the_same_interactions_count_once(client: RecommenderClient, fake: FakeRecommender) -> None:
    told = likes(3)

    assert client.record(told) == Recorded(3, 0)
    assert client.record([*told, Interaction("user 0", "item")]) == Recorded(1, 3)


def test_a_recording_that_breaks_is_sent_again_and_nothing_counts_twice(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    fake.breaks_after = 2
    told = likes(1300)

    recorded = client.record(told)

    assert recorded == Recorded(recorded=300, duplicates=1000)
    assert list(fake.events) == [interaction.event_id for interaction in told]
    assert [sizes(call) for call in fake.asked][-1] == [500, 500, 300]


def test_a_refused_call_is_made_again_when_the_server_says(client: RecommenderClient, fake: FakeRecommender) -> None:
    fake.refusals = [(EXHAUSTED, "1"), (UNAVAILABLE, None)]
    assert client.forget_users(["u", "v"]) == 2

    fake.refusals = [(EXHAUSTED, "1")]
    assert client.record(likes(1)) == Recorded(1, 0)
    assert len(fake.asked) == 5


@pytest.mark.parametrize(
    ("refusal", "error"),
    [((EXHAUSTED, "-1"), Overloaded), ((grpc.StatusCode.INVALID_ARGUMENT, None), InvalidRequest)],
    ids=["do not retry", "what cannot get better"],
)
def test_a_refusal_that_stands_is_raised_at_once(
    client: RecommenderClient,
    fake: FakeRecommender,
    refusal: tuple[grpc.StatusCode, str | None],
    error: type[Exception],
) -> None:
    for call in (lambda: client.recommend("u"), lambda: client.record(likes(1)), lambda: next(client.watch("u"))):
        fake.refusals = [refusal]
        with pytest.raises(error, match="not now"):
            call()

    assert len(fake.asked) == 3


def test_attempts_end(client: RecommenderClient, fake: FakeRecommender) -> None:
    fake.refusals = [(UNAVAILABLE, None)] * QUICK.max_attempts

    with pytest.raises(Unavailable, match="not now"):
        client.record(likes(1))

    assert len(fake.asked) == QUICK.max_attempts


def test_items_go_and_come(client: RecommenderClient, fake: FakeRecommender) -> None:
    embeddings = {"sound": (0.5, -2.0), "text": (1.0,)}
    item = Item("i", "A Song", ("rock", "live"), {"year": 1980.0}, unavailable=True, embeddings=embeddings)

    client.upsert_items([item, *(Item(str(number)) for number in range(6000))])
    client.delete_items(["gone"])

    assert client.get_item("i") == item
    assert [len(request.items) for request in fake.asked[:2]] == [5000, 1001]
    assert fake.asked[2].item_ids == ["gone"]
    with pytest.raises(NotFound, match='item "gone": not known'):
        client.get_item("gone")


def test_models_say_which_can_be_asked(client: RecommenderClient) -> None:
    details = {"ease": "", "als": "being fitted"}
    expected = RecommenderModels({"ease": True, "als": False}, 7, users=3, items=2, events=5, details=details)
    assert client.models() == expected


def test_a_watched_shelf_is_told_as_it_changes_until_the_watch_is_left(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    watch = client.watch("u")
    assert next(watch).item_ids == ("a", "b")

    fake.put("b", "a")

    assert next(watch).item_ids == ("b", "a")
    watch.close()
    assert fake.left.wait(WAIT_S)


def test_a_watch_that_breaks_goes_on_and_tells_no_shelf_twice(client: RecommenderClient, fake: FakeRecommender) -> None:
    watch = client.watch("u")
    next(watch)
    assert fake.waits.wait(WAIT_S)

    fake.refusals = [(UNAVAILABLE, None), (UNAVAILABLE, None)]
    fake.script = [["c"]]
    fake.put("a", "b")

    assert next(watch).item_ids == ("c",)
    assert len(fake.asked) == 4
    watch.close()


def test_a_watch_ends_at_its_deadline(client: RecommenderClient) -> None:
    watch = client.watch("u", timeout_s=0.5)
    next(watch)

    with pytest.raises(DeadlineExceeded):
        next(watch)


def test_a_task_that_is_cancelled_leaves_its_watch(fake: FakeRecommender) -> None:
    async def scenario() -> None:
        async with (
            AsyncChannel(address) as channel,
            asyncio.timeout(0.2),
            aclosing(AsyncRecommenderClient(channel).watch("u")) as watch,
        ):
            async for _ in watch:
                pass

    with served(fake) as address:
        with pytest.raises(TimeoutError):
            run(scenario())
        assert fake.left.wait(WAIT_S)


def test_a_channel_that_is_closed_retries_no_more(fake: FakeRecommender) -> None:
    fake.refusals = [(UNAVAILABLE, None)] * 2

    async def scenario() -> None:
        slow = RetryPolicy(initial_backoff_s=3600.0, max_backoff_s=3600.0)
        channel = AsyncChannel(address, retries=slow, timeout_s=None)
        call = asyncio.create_task(AsyncRecommenderClient(channel).recommend("u"))
        await asyncio.to_thread(fake.came.wait, WAIT_S)
        await channel.close()
        with pytest.raises((Unavailable, asyncio.CancelledError)):
            await call

    with served(fake) as address:
        run(scenario())


def test_many_tasks_share_a_channel(fake: FakeRecommender) -> None:
    async def scenario() -> None:
        async with AsyncChannel(address) as channel:
            client = AsyncRecommenderClient(channel)
            shelves = await asyncio.gather(*(client.recommend(f"user {number}") for number in range(200)))
        assert [shelf.model for shelf in shelves] == [f"user {number}" for number in range(200)]

    with served(fake) as address:
        run(scenario())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with served(FakeRecommender()) as address:
        pass
    with sync_client(address) as client, pytest.raises(Unavailable):
        client.record(likes(1))
