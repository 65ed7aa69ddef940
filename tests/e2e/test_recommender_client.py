"""Both clients against the real recommender, on both fronts: what they record counts, and survives the server."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cuelight.client import (
    AsyncChannel,
    AsyncRecommenderClient,
    Channel,
    Interaction,
    InvalidRequest,
    Item,
    ItemFilter,
    NotFound,
    NumberRange,
    RecommenderClient,
    Recorded,
    RetryPolicy,
    ShelfOptions,
    UserExport,
)
from tests.serve_process import FRONTS, ROOT, ServeProcess, environment, running_recommender

N = 20
COSINE = ShelfOptions(model="item_cosine", n=3, explain=True)
PATIENT = RetryPolicy(max_attempts=500, max_backoff_s=0.2)
TIMEOUT_S = 60.0


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServeProcess]:
    with running_recommender(tmp_path / "data", tmp_path / "log", front=str(request.param)) as running:
        yield running


@pytest.fixture
def client(server: ServeProcess) -> Iterator[RecommenderClient]:
    with Channel(server.target) as channel:
        yield RecommenderClient(channel)


def checkerboard() -> list[Interaction]:
    """User u likes the items of u's parity but item u."""
    return [Interaction(f"user {u}", f"item {i}") for u in range(N) for i in range(u % 2, N, 2) if i != u]


def test_what_is_recorded_counts_once_in_the_next_answer_and_can_be_forgotten(client: RecommenderClient) -> None:
    told = checkerboard()
    assert client.record(told) == Recorded(len(told), 0)
    assert client.record(told) == Recorded(0, len(told))

    [first, *_] = client.recommend("user 4", COSINE).items
    assert first.item_id == "item 4"
    assert sum(reason.share for reason in first.reasons) == pytest.approx(first.score)
    assert {reason.item_id for reason in first.reasons} <= {f"item {i}" for i in range(0, N, 2)}

    like = Interaction("new", "item 1", time_s=1_700_000_000.5)
    assert client.recommend("new").cold
    client.record([like])
    assert client.recommend("new", COSINE).item_ids == client.recommend(["item 1"], COSINE).item_ids
    assert client.export_user("new") == UserExport((replace(like, value=1.0),))
    assert client.forget_users(["new", "nobody"]) == 1
    assert client.recommend("new").cold
    with pytest.raises(NotFound, match="new"):
        client.export_user("new")


def test_a_plain_like_is_a_like_whatever_counts_as_one_until_more_is_asked_for(tmp_path: Path) -> None:
    def serving(min_value: str) -> AbstractContextManager[ServeProcess]:
        return running_recommender(tmp_path / "data", tmp_path / "log", arguments=["--min-value", min_value])

    like = Interaction("u", "plain")
    told = [like, Interaction("u", "rated", value=1.0), Interaction("gone", "plain"), Interaction("w", "x", value=4.0)]
    with serving("4") as server, Channel(server.target) as channel:
        client = RecommenderClient(channel)
        assert client.record([*told, Interaction("gone", "plain", withdrawn=True)]) == Recorded(5, 0)
        assert client.record([like]) == Recorded(0, 1)

        assert [one.value for one in client.export_user("u").interactions] == [4.0, 1.0]
        assert client.similar_users("u") == ()
        client.record([Interaction("twin", "plain"), Interaction("twin", "x")])
        assert [user.user_id for user in client.similar_users("u")] == ["twin"]
        assert client.recommend("u", COSINE).item_ids == ("x",)
        assert client.recommend("gone").cold
    with serving("4.5") as server, Channel(server.target) as channel:
        assert RecommenderClient(channel).recommend("u").cold, "it was a like of value 4"


def test_items_filters_and_what_is_alike(client: RecommenderClient) -> None:
    client.record(checkerboard())
    items = [Item(f"item {i}", f"Song {i}", ("low" if i < 10 else "high",), {"year": 1980.0 + i}) for i in range(N)]
    client.upsert_items(items)
    assert client.get_item("item 3") == items[3]

    low = ItemFilter(any_tags=("low",), ranges=(NumberRange("year", min=1984),))
    shelf = client.recommend(["item 2"], ShelfOptions(filter=low, n=100))
    assert set(shelf.item_ids) == {f"item {i}" for i in range(4, 10)}
    assert "item 3" not in client.similar_items("item 3").item_ids
    others = {f"user {u}" for u in range(1, N, 2) if u != 3}
    assert {user.user_id for user in client.similar_users("user 3", N)} == others
    assert client.item_similarities([("item 3", "item 5"), ("item 3", "item 4")]) == [pytest.approx(8 / (9 + 10)), 0.0]
    assert client.user_similarities([("user 1", "user 3")]) == [pytest.approx(8 / (9 + 10))]

    client.delete_items(["item 4"])
    assert "item 4" not in client.recommend("user 4", ShelfOptions(n=100)).item_ids
    assert client.models().items == N - 1


def test_what_is_near_by_embedding(client: RecommenderClient) -> None:
    text = [np.array([i, 1.0], np.float32) for i in range(N)]
    client.upsert_items(
        [Item(f"item {i}", tags=(("low", "high")[i > 9],), embeddings={"text": text[i]}) for i in range(N)]
    )

    nearest = client.nearest_items(["item 3", (100.0, 1.0)], n=2, filter=ItemFilter(any_tags=("low",)))

    ids = [[item.item_id for item in near] for near in nearest.lists]
    assert ids == [["item 4", "item 5"], ["item 9", "item 8"]]
    assert nearest.lists[1][0].cosine == pytest.approx(float(text[9] @ [100, 1] / np.linalg.norm(text[9]) / 100.005))
    assert nearest.exact
    assert client.get_item("item 3").embeddings == {"text": (3.0, 1.0)}
    assert client.recommend(["item 3"], ShelfOptions(model="content_cosine", n=1)).item_ids == ("item 4",)
    with pytest.raises(NotFound, match='space "sound": there are "text"'):
        client.nearest_items(["item 3"], "sound")


def test_what_cannot_be_is_refused_with_the_servers_words(client: RecommenderClient) -> None:
    client.record([Interaction("v", "i")])
    with pytest.raises(InvalidRequest, match="finite"):
        client.record([Interaction("u", "i", value=float("nan"))])
    with pytest.raises(InvalidRequest, match="n: expected"):
        client.recommend("u", ShelfOptions(n=1_000_000))
    with pytest.raises(NotFound, match="sasrec"):
        client.recommend(["i"], ShelfOptions(model="sasrec"))
    assert client.models().events == 1


def test_a_watched_shelf_changes_as_feedback_arrives(server: ServeProcess) -> None:
    async def scenario() -> None:
        async with AsyncChannel(server.target) as channel, asyncio.timeout(TIMEOUT_S):
            client = AsyncRecommenderClient(channel)
            await client.record(checkerboard())
            async with aclosing(client.watch("new", COSINE)) as watch:
                assert (await anext(watch)).cold
                await client.record([Interaction("new", "item 1")])
                changed = await anext(watch)
        assert not changed.cold
        assert all(int(item.removeprefix("item ")) % 2 for item in changed.item_ids)

    asyncio.run(scenario())


def test_the_example_shows_a_shelf_that_changes_and_changes_back(
    client: RecommenderClient, server: ServeProcess
) -> None:
    client.record(checkerboard())
    client.upsert_items([Item("item 4", "The Fourth Song")])

    example = ROOT / "clients" / "python" / "examples" / "recommend.py"
    command = [sys.executable, str(example), "--url", server.target, "--user", "user 4"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert done.returncode == 0, done.stderr
    assert "User user 4 has rated 9 items" in done.stdout
    assert "User user 4 rates The Fourth Song with 5" in done.stdout
    assert "The rating is taken back" in done.stdout


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("front", FRONTS)
def test_a_recording_and_a_watch_survive_their_server(front: str, end: signal.Signals, tmp_path: Path) -> None:
    told = [Interaction(f"user {number % 300}", f"item {number % 50}", number % 7) for number in range(20_000)]

    async def scenario(server: ServeProcess) -> None:
        async with AsyncChannel(server.target, retries=PATIENT) as channel, asyncio.timeout(TIMEOUT_S):
            client = AsyncRecommenderClient(channel)
            watch = client.watch("somebody new", ShelfOptions(n=100))
            shelf = await anext(watch)
            recording = asyncio.create_task(client.record(told))
            while not (await client.models()).events:
                pass
            await asyncio.to_thread(ended, server, end)
            arguments = ("--port", str(server.port))
            with running_recommender(tmp_path / "data", tmp_path / "log", front=front, arguments=arguments):
                recorded = await recording
                assert recorded.recorded + recorded.duplicates == len(told)
                assert (await client.models()).events == len(told)
                assert (await client.recommend("somebody new")).cold
                await client.delete_items(["item 0"])
                while len(shelf.items) != 49:
                    shelf = await anext(watch)
            await watch.aclose()

    with running_recommender(tmp_path / "data", tmp_path / "log", front=front) as server:
        asyncio.run(scenario(server))


def ended(server: ServeProcess, end: signal.Signals) -> None:
    server.signal(end)
    server.exit_code()
