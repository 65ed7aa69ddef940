"""An experiment as it runs for weeks: users stay, counters outlive the server, and who is forgotten is in none."""

import signal
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_recommender

TIMEOUT_S = 30.0
USERS = [f"user {n}" for n in range(40)]
CONFIG = """
[[experiments]]
name = "home"

[[experiments.variants]]
name = "control"
share = 0.5
model = "popularity"
n = 3

[[experiments.variants]]
name = "bold"
share = 0.5
model = "popularity"
n = 3
exploration = 1.0
"""


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def serving(folder: Path, front: str) -> Iterator[tuple[ServeProcess, pb_grpc.RecommenderServiceStub]]:
    config = folder / "recommender.toml"
    config.write_text(CONFIG)
    arguments = ("--config", str(config))
    with (
        running_recommender(folder / "data", folder / "log", front=front, arguments=arguments) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield server, pb_grpc.RecommenderServiceStub(channel)


def record(stub: pb_grpc.RecommenderServiceStub, interactions: Sequence[pb.Interaction]) -> None:
    stub.RecordInteractions(iter([pb.RecordInteractionsRequest(interactions=interactions)]), timeout=TIMEOUT_S)


def like(user: str, item: str) -> pb.Interaction:
    return pb.Interaction(event_id=f"{user}/{item}", user_id=user, item_id=item)


def fill(stub: pb_grpc.RecommenderServiceStub) -> None:
    """Item i is liked by 20 - i users who take no part."""
    record(stub, [like(f"other {u}", f"item {i}") for i in range(20) for u in range(20 - i)])


def shelves(stub: pb_grpc.RecommenderServiceStub, users: Sequence[str] = USERS, **options: object) -> list[pb.Shelf]:
    request = pb.RecommendRequest(queries=[pb.Query(user_id=user) for user in users])
    request.options.MergeFrom(pb.ShelfOptions(experiment="home", **options))  # type: ignore[arg-type]
    return list(stub.Recommend(request, timeout=TIMEOUT_S).shelves)


def counts(stub: pb_grpc.RecommenderServiceStub) -> dict[str, tuple[int, int, int, int]]:
    [experiment] = stub.ListExperiments(pb.ListExperimentsRequest(), timeout=TIMEOUT_S).experiments
    assert [(one.name, one.share) for one in experiment.variants] == [("control", 0.5), ("bold", 0.5)]
    return {one.name: (one.users, one.shelves, one.likes, one.hits) for one in experiment.variants}


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_shelves_are_of_the_users_variant_and_what_comes_of_it_is_counted(front: str, tmp_path: Path) -> None:
    with serving(tmp_path, front) as (server, stub):
        fill(stub)

        made = shelves(stub)

        assert {shelf.variant for shelf in made} == {"control", "bold"}
        for shelf in made:
            assert [item.explored for item in shelf.items] == [shelf.variant == "bold"] * 3
            assert bool(shelf.seed) == (shelf.variant == "bold")
        assert [shelf.variant for shelf in shelves(stub)] == [shelf.variant for shelf in made]
        [mine] = shelves(stub, USERS[:1], n=7, exploration=0.5)
        assert (len(mine.items), mine.variant) == (7, made[0].variant)

        for user, shelf in zip(USERS, made, strict=True):
            record(stub, [like(user, shelf.items[0].item_id), like(user, "never shown")])
        found = counts(stub)
        of = {name: sum(shelf.variant == name for shelf in made) for name in ("control", "bold")}
        mine_too = {name: int(made[0].variant == name) for name in of}
        assert found == {name: (of[name], 2 * of[name] + mine_too[name], 2 * of[name], of[name]) for name in of}

        metrics = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urllib.request.urlopen(metrics, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
        assert f'cuelight_recommender_experiment_hits{{experiment="home",variant="bold"}} {of["bold"]}.0' in text

        table = run_cuelight("recommender", "experiments", "--data", str(tmp_path / "data"))
        assert table.returncode == 0, table.stderr
        assert "home" in table.stdout
        assert "bold" in table.stdout


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_counters_are_the_same_after_a_restart(front: str, end: signal.Signals, tmp_path: Path) -> None:
    with serving(tmp_path, front) as (server, stub):
        fill(stub)
        made = shelves(stub)
        record(stub, [like(user, made[0].items[0].item_id) for user in USERS])
        before = counts(stub) if end is signal.SIGKILL else None  # stored, when told
        server.signal(end)
        server.exit_code()

    with serving(tmp_path, front) as (_, stub):
        after = counts(stub)
        assert sum(one[0] for one in after.values()) == len(USERS)
        assert sum(one[2] for one in after.values()) == len(USERS)
        assert before in (None, after)
        assert [shelf.variant for shelf in shelves(stub)] == [shelf.variant for shelf in made]


def test_who_is_forgotten_is_in_no_counter_and_in_no_byte_even_while_watching(front: str, tmp_path: Path) -> None:
    secret = "person-4711"
    with serving(tmp_path, front) as (_, stub):
        fill(stub)
        watch = stub.WatchRecommendations(
            pb.WatchRecommendationsRequest(
                query=pb.Query(user_id=secret), options=pb.ShelfOptions(experiment="home", model="item_cosine")
            ),
            timeout=TIMEOUT_S,
        )
        first = next(watch).shelf
        shown = first.items[0].item_id
        record(stub, [like(secret, shown)])
        assert not next(watch).shelf.cold
        exported = stub.ExportUser(pb.ExportUserRequest(user_id=secret), timeout=TIMEOUT_S)
        [exposure] = exported.exposures
        assert (exposure.experiment, exposure.variant, exposure.shelves) == ("home", first.variant, 2)
        assert {item.item_id for item in first.items} <= {one.item_id for one in exported.shown}
        assert counts(stub)[first.variant] == (1, 2, 1, 1)

        stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=[secret]), timeout=TIMEOUT_S)

        assert next(watch).shelf.cold, "the watch goes on, of somebody who is not known"
        assert counts(stub) == {"control": (0, 0, 0, 0), "bold": (0, 0, 0, 0)}
        assert secret.encode() not in bytes_in(tmp_path / "data")
        with pytest.raises(grpc.RpcError, match="nothing is stored"):
            stub.ExportUser(pb.ExportUserRequest(user_id=secret), timeout=TIMEOUT_S)
        watch.cancel()


def test_who_takes_no_part_and_what_is_not_there(front: str, tmp_path: Path) -> None:
    with serving(tmp_path, front) as (_, stub):
        fill(stub)
        options = pb.ShelfOptions(experiment="home")
        history = pb.Query(history=pb.History(items=[pb.LikedItem(item_id="item 3")]))

        [shelf] = stub.Recommend(pb.RecommendRequest(queries=[history], options=options), timeout=TIMEOUT_S).shelves

        assert (shelf.variant, len(shelf.items)) == ("", 10)
        assert sum(one[0] for one in counts(stub).values()) == 0
        options.experiment = "away"
        with pytest.raises(grpc.RpcError, match='experiment "away": there are home') as raised:
            stub.Recommend(pb.RecommendRequest(queries=[history], options=options), timeout=TIMEOUT_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        for refused in (pb.ShelfOptions(experiment="home"), pb.ShelfOptions(exclude_seen_since=Timestamp(seconds=1))):
            with pytest.raises(grpc.RpcError, match="expected none") as raised:
                stub.SimilarItems(pb.SimilarItemsRequest(item_id="item 3", options=refused), timeout=TIMEOUT_S)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_watch_with_exploration_does_not_flicker(front: str, tmp_path: Path) -> None:
    with serving(tmp_path, front) as (_, stub):
        fill(stub)
        options = pb.ShelfOptions(model="popularity", n=5, exploration=0.6)
        request = pb.WatchRecommendationsRequest(query=pb.Query(user_id="ann"), options=options)
        watch = stub.WatchRecommendations(request, timeout=TIMEOUT_S)
        first = next(watch).shelf
        assert first.seed > 0

        liked = next(item.item_id for item in first.items if not item.explored)
        record(stub, [like("somebody else", "item 0")])
        record(stub, [like("ann", liked)])

        second = next(watch).shelf
        assert second.seed == first.seed
        assert liked not in {item.item_id for item in second.items}
        assert [item.explored for item in second.items] == [item.explored for item in first.items]
        watch.cancel()
