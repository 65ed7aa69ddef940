"""Boosts, exploration and experiments through the recommender's clients: both make the same calls."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.client import (
    Boost,
    Experiment,
    Exposure,
    Interaction,
    ItemFilter,
    Recommendation,
    RecommenderClient,
    ShelfOptions,
    ShownItem,
    Variant,
)
from cuelight.recommender.v1 import recommender_pb2 as pb
from tests.clients.fake_recommender import CLIENTS, FakeRecommender, served


@pytest.fixture
def fake() -> FakeRecommender:
    return FakeRecommender()


@pytest.fixture(params=CLIENTS, ids=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, fake: FakeRecommender) -> Iterator[RecommenderClient]:
    made: Callable[[str], AbstractContextManager[RecommenderClient]] = request.param
    with served(fake) as address, made(address) as connected:
        yield connected


def test_options_are_sent_as_they_are_said(client: RecommenderClient, fake: FakeRecommender) -> None:
    boosts = (Boost("new", filter=ItemFilter(any_tags=("new",)), factor=1.5), Boost(item_ids=("a", "b"), add=-2.0))
    options = ShelfOptions(
        exclude_seen_since_s=1_700_000_000.25,
        boosts=boosts,
        exploration=0.1,
        seed=2**64 - 1,
        experiment="home",
        max_reasons=3,
        exclude_item_ids={"z"},
    )

    client.recommend("u", options)

    [request] = fake.asked
    assert request.options == pb.ShelfOptions(
        exclude_seen_since=Timestamp(seconds=1_700_000_000, nanos=250_000_000),
        boosts=[
            pb.Boost(name="new", filter=pb.Filter(any_tags=["new"]), factor=1.5, add=0.0),
            pb.Boost(name="boost", item_ids=["a", "b"], factor=1.0, add=-2.0),
        ],
        exploration=0.1,
        seed=2**64 - 1,
        experiment="home",
        max_reasons=3,
        exclude_item_ids=["z"],
    )


def test_what_is_not_said_is_not_sent_so_that_a_variant_can_set_it(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    client.recommend("u", ShelfOptions(experiment="home"))
    client.recommend("u", ShelfOptions(seed=0, filter=ItemFilter()))

    assert fake.asked[0].options == pb.ShelfOptions(experiment="home")
    assert fake.asked[1].options == pb.ShelfOptions(seed=0, filter=pb.Filter())


def test_a_shelf_tells_what_is_explored_its_seed_and_its_variant(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    fake.seed, fake.variant, fake.explored = 2**64 - 1, "bold", {"b"}

    shelf = client.recommend("u")

    assert (shelf.seed, shelf.variant) == (2**64 - 1, "bold")
    assert [item.explored for item in shelf.items] == [False, True]
    assert Recommendation("x", 1.0).explored is False


def test_a_watch_brings_its_seed_so_that_it_is_the_same_after_a_restart(
    client: RecommenderClient, fake: FakeRecommender
) -> None:
    for options in (None, ShelfOptions(seed=7)):
        watch = client.watch("u", options)
        next(watch)
        watch.close()

    [chosen, given] = [request.options for request in fake.asked]
    assert chosen.HasField("seed")
    assert 0 <= chosen.seed < 2**53
    assert given.seed == 7


def test_experiments_are_plain_values(client: RecommenderClient) -> None:
    variant = Variant("control", share=1.0, users=3, shelves=9, likes=2, hits=1)

    assert client.list_experiments() == [Experiment("trial", (variant,))]


def test_a_user_gets_the_part_in_experiments_too(client: RecommenderClient) -> None:
    like = Interaction("u", "i", time_s=5.0)
    client.record([like])

    export = client.export_user("u")

    assert export.interactions == (like,)
    assert export.exposures == (Exposure("trial", "control", 5.0, 2),)
    assert export.shown == (ShownItem("trial", "a", 6.0), ShownItem("trial", "b", 6.0))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_the_wire_cannot_say_is_refused_here(
    client: RecommenderClient, fake: FakeRecommender, seed: Any
) -> None:
    with pytest.raises(ValueError, match=r"seed must be 0 to 2\^64 - 1, got"):
        client.recommend("u", ShelfOptions(seed=seed))

    assert fake.asked == []
