"""Everything a caller or an operator can get wrong ends as it is defined to, to the word, and harms nothing else."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.schema import MIGRATIONS
from cuelight.server.recommender.store.store import DATABASE_NAME, Store
from tests.serve_process import FRONTS, run_cuelight, running_recommender

TIMEOUT_S = 30.0
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
SOON_S = 3600

Stub = pb_grpc.RecommenderServiceStub


@pytest.fixture(scope="module", params=FRONTS)
def stub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    """A server that knows two users and two items."""
    folder = tmp_path_factory.mktemp("bad input")
    with (
        running_recommender(folder / "data", folder / "log", front=str(request.param)) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = pb_grpc.RecommenderServiceStub(channel)
        record(stub, like("u", "i"), like("v", "j"))
        stub.UpsertItems(pb.UpsertItemsRequest(items=[pb.Item(item_id="j", tags=["loud"])]), timeout=TIMEOUT_S)
        yield stub
        assert "Traceback" not in server.whole_log()


def like(user: str, item: str, **fields: object) -> pb.Interaction:
    return pb.Interaction(**{"event_id": f"{user} {item}", "user_id": user, "item_id": item, **fields})  # type: ignore[arg-type]


def record(stub: Stub, *interactions: pb.Interaction) -> pb.RecordInteractionsResponse:
    requests = iter([pb.RecordInteractionsRequest(interactions=interactions)])
    return stub.RecordInteractions(requests, timeout=TIMEOUT_S)


def recommend(stub: Stub, user: str = "u", **options: object) -> pb.Shelf:
    queries = [pb.Query(user_id=user)]
    request = pb.RecommendRequest(queries=queries, options=pb.ShelfOptions(**options))  # type: ignore[arg-type]
    return stub.Recommend(request, timeout=TIMEOUT_S).shelves[0]


def last_line(text: str) -> str:
    """Return what a command says at the end; a front may say something of its own before."""
    return text.splitlines()[-1]


def in_seconds(time_s: float) -> Timestamp:
    return Timestamp(seconds=int(time_s))


LONG = "x" * 100_000
ID_EXPECTED = f'expected 1 to 256 bytes of UTF-8, got "{len(LONG)} bytes"'
NAME_EXPECTED = f"expected 256 bytes of UTF-8 at most, got {len(LONG)}"

REFUSED: dict[str, tuple[Callable[[Stub], object], grpc.StatusCode, str]] = {
    "NaN rating": (
        lambda stub: record(stub, like("new", "i", value=math.nan)),
        INVALID,
        'event "new i": value: expected a finite number, got nan',
    ),
    "infinite rating": (
        lambda stub: record(stub, like("new", "i", value=-math.inf)),
        INVALID,
        'event "new i": value: expected a finite number, got -inf',
    ),
    "no user": (
        lambda stub: record(stub, like("", "i")),
        INVALID,
        'user_id: expected 1 to 256 bytes of UTF-8, got ""',
    ),
    "long item": (
        lambda stub: record(stub, like("new", "ü" * 129, event_id="e")),
        INVALID,
        f'item_id: expected 1 to 256 bytes of UTF-8, got "{"ü" * 129}"',
    ),
    "withdrawn false": (
        lambda stub: record(stub, like("new", "i", withdrawn=False)),
        INVALID,
        'event "new i": withdrawn: expected true, got false',
    ),
    "a million": (
        lambda stub: recommend(stub, n=1_000_000),
        INVALID,
        "n: expected 1 to 1000, or 0 for 10, got 1000000",
    ),
    "less than none": (lambda stub: recommend(stub, n=-1), INVALID, "n: expected 1 to 1000, or 0 for 10, got -1"),
    "no query": (
        lambda stub: stub.Recommend(pb.RecommendRequest(), timeout=TIMEOUT_S),
        INVALID,
        "queries: expected 1 to 1000, got 0",
    ),
    "too many items together": (
        lambda stub: stub.Recommend(
            pb.RecommendRequest(queries=[pb.Query(user_id="ann")] * 101, options=pb.ShelfOptions(n=1000)),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "queries: expected shelves of 100000 items together at most, got 101000",
    ),
    "too many reasons": (
        lambda stub: recommend(stub, n=101, explain=True),
        INVALID,
        "n: expected 100 at most with explain, got 101",
    ),
    "a history beyond numbers": (
        lambda stub: stub.Recommend(
            pb.RecommendRequest(
                queries=[pb.Query(history=pb.History(items=[pb.LikedItem(item_id="a", weight=1e308)]))]
            ),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        'history: "a": weight: expected 1e-06 to 1e+06, got 1e+308',
    ),
    "range upside down": (
        lambda stub: recommend(stub, filter=pb.Filter(ranges=[pb.Range(name="year", min=2, max=1)])),
        INVALID,
        'range "year": expected min up to max, got 2.0 and 1.0',
    ),
    "unknown item, similar": (
        lambda stub: stub.SimilarItems(pb.SimilarItemsRequest(item_id="no such"), timeout=TIMEOUT_S),
        NOT_FOUND,
        'item "no such": not known',
    ),
    "unknown item, asked for": (
        lambda stub: stub.GetItem(pb.GetItemRequest(item_id="no such"), timeout=TIMEOUT_S),
        NOT_FOUND,
        'item "no such": not known',
    ),
    "unknown user, similar": (
        lambda stub: stub.SimilarUsers(pb.SimilarUsersRequest(user_id="no such"), timeout=TIMEOUT_S),
        NOT_FOUND,
        'user "no such": not known',
    ),
    "unknown user, export": (
        lambda stub: stub.ExportUser(pb.ExportUserRequest(user_id="no such"), timeout=TIMEOUT_S),
        NOT_FOUND,
        'user "no such": nothing is stored',
    ),
    "long model": (lambda stub: recommend(stub, model=LONG), INVALID, f"model: {NAME_EXPECTED}"),
    "long experiment": (lambda stub: recommend(stub, experiment=LONG), INVALID, f"experiment: {NAME_EXPECTED}"),
    "long item, similar": (
        lambda stub: stub.SimilarItems(pb.SimilarItemsRequest(item_id=LONG), timeout=TIMEOUT_S),
        INVALID,
        f"item_id: {ID_EXPECTED}",
    ),
    "long item, asked for": (
        lambda stub: stub.GetItem(pb.GetItemRequest(item_id=LONG), timeout=TIMEOUT_S),
        INVALID,
        f"item_id: {ID_EXPECTED}",
    ),
    "long user, similar": (
        lambda stub: stub.SimilarUsers(pb.SimilarUsersRequest(user_id=LONG), timeout=TIMEOUT_S),
        INVALID,
        f"user_id: {ID_EXPECTED}",
    ),
    "long item in a pair": (
        lambda stub: stub.Similarity(
            pb.SimilarityRequest(pairs=[pb.Pair(items=pb.IdPair(first_id="i", second_id=LONG))]), timeout=TIMEOUT_S
        ),
        INVALID,
        f"item_id: {ID_EXPECTED}",
    ),
    "long space": (
        lambda stub: stub.NearestItems(
            pb.NearestItemsRequest(space=LONG, queries=[pb.NearestQuery(item_id="i")]), timeout=TIMEOUT_S
        ),
        INVALID,
        f'embeddings: space: expected 1 to 64 bytes of UTF-8, got "{len(LONG)} bytes"',
    ),
    "too many items": (
        lambda stub: stub.UpsertItems(
            pb.UpsertItemsRequest(items=[pb.Item(item_id=str(n)) for n in range(10_001)]), timeout=TIMEOUT_S
        ),
        INVALID,
        "items: expected 10000 at most, got 10001",
    ),
    "too many events": (
        lambda stub: record(stub, *(like("new", str(n)) for n in range(10_001))),
        INVALID,
        "interactions: expected 10000 at most, got 10001",
    ),
    "too many names of numbers": (
        lambda stub: stub.UpsertItems(
            pb.UpsertItemsRequest(
                items=[
                    pb.Item(item_id="new 1", numbers={str(n): 1.0 for n in range(1000)}),
                    pb.Item(item_id="new 2", numbers={"one more": 1.0}),
                ]
            ),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        'item "new 2": number "one more": expected 1000 different names in all items at most, got one more',
    ),
    "number NaN": (
        lambda stub: stub.UpsertItems(
            pb.UpsertItemsRequest(items=[pb.Item(item_id="i", numbers={"year": math.nan})]), timeout=TIMEOUT_S
        ),
        INVALID,
        'item "i": number "year": expected a finite number, got nan',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(stub: Stub, case: str) -> None:
    call, code, text = REFUSED[case]
    before = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S)

    with pytest.raises(grpc.RpcError) as raised:
        call(stub)

    assert isinstance(raised.value, grpc.Call)
    assert (raised.value.code(), raised.value.details()) == (code, text)
    after = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S)
    assert (after.events, after.users, after.items, after.version) == (
        before.events,
        before.users,
        before.items,
        before.version,
    )


def test_a_time_in_the_future_is_refused_and_clocks_that_differ_a_little_are_not(stub: Stub) -> None:
    future_s = int(time.time()) + SOON_S
    with pytest.raises(grpc.RpcError) as raised:
        record(stub, like("new", "i", time=in_seconds(future_s)))

    assert isinstance(raised.value, grpc.Call)
    assert raised.value.code() is INVALID
    assert raised.value.details() == (
        f'event "new i": time: expected seconds of Unix time, 300 s from now at most, got {float(future_s)}'
    )
    assert record(stub, like("clock", "i", time=in_seconds(time.time() + 60))).recorded == 1


def test_an_event_that_comes_again_is_a_duplicate_whatever_else_it_says(stub: Stub) -> None:
    assert record(stub, like("twice", "i")).recorded == 1

    again = record(stub, like("twice", "i", user_id="somebody else"), like("twice", "i"))

    assert (again.recorded, again.duplicates) == (0, 2)


def test_an_unknown_user_gets_a_cold_shelf_and_an_unknown_item_comes_to_be(stub: Stub) -> None:
    cold = recommend(stub, "nobody")
    assert (cold.cold, cold.model) == (True, "popularity")

    record(stub, like("somebody", "unheard of"))

    assert stub.GetItem(pb.GetItemRequest(item_id="unheard of"), timeout=TIMEOUT_S).item == pb.Item(
        item_id="unheard of"
    )


def test_n_of_0_is_the_default_and_a_filter_that_nothing_passes_leaves_an_empty_shelf(stub: Stub) -> None:
    assert len(recommend(stub, n=0).items) >= 1
    assert list(recommend(stub, filter=pb.Filter(all_tags=["loud", "no such tag"])).items) == []


def test_nothing_of_a_message_with_one_bad_event_is_recorded_and_earlier_messages_are(stub: Stub) -> None:
    messages = [
        pb.RecordInteractionsRequest(interactions=[like("stream", "first")]),
        pb.RecordInteractionsRequest(interactions=[like("stream", "second"), like("stream", "bad", value=math.nan)]),
    ]

    with pytest.raises(grpc.RpcError, match="finite number"):
        stub.RecordInteractions(iter(messages), timeout=TIMEOUT_S)

    told = stub.ExportUser(pb.ExportUserRequest(user_id="stream"), timeout=TIMEOUT_S).interactions
    assert [interaction.item_id for interaction in told] == ["first"]


def test_an_item_that_is_deleted_during_queries_is_in_no_later_answer(stub: Stub) -> None:
    queries = [pb.Query(user_id="u")] * 200
    record(stub, *(like(f"fan {n}", "short lived") for n in range(5)))
    request = pb.RecommendRequest(queries=queries, options=pb.ShelfOptions(model="popularity"))
    under_way = [stub.Recommend.future(request, timeout=TIMEOUT_S) for _ in range(4)]

    stub.DeleteItems(pb.DeleteItemsRequest(item_ids=["short lived"]), timeout=TIMEOUT_S)
    later = recommend(stub, model="popularity", n=1000)

    assert all(len(call.result().shelves) == 200 for call in under_way)
    assert "short lived" not in [item.item_id for item in later.items]


def test_two_processes_on_one_folder_and_readers_beside_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_recommender(data, tmp_path / "log") as server:
        with grpc.insecure_channel(server.target) as channel:
            record(pb_grpc.RecommenderServiceStub(channel), like("u", "i"), like("u", "j"))
        holder = f"cuelight: error: {data}: in use by process {server.process.pid}; one process a data folder"
        second = run_cuelight("recommender", "serve", "--data", str(data), "--port", "0", "--metrics-port", "0")
        assert (second.returncode, last_line(second.stderr)) == (2, holder)
        likes = tmp_path / "likes.csv"
        likes.write_text("user,item\na,b\n")
        importing = run_cuelight("recommender", "import", "--data", str(data), "--interactions", str(likes))
        assert (importing.returncode, last_line(importing.stderr)) == (2, holder)
        reading = run_cuelight("recommender", "fit", "--data", str(data), "--model", "popularity")
        assert reading.returncode == 0, reading.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--port", "0"],
        ["fit"],
        ["evaluate"],
        ["export", "--items", "items.csv"],
        ["backup", "--to", "copy"],
    ],
    ids=lambda words: words[0],
)
def test_a_database_from_a_newer_version_is_refused_by_every_command(tmp_path: Path, words: list[str]) -> None:
    data = tmp_path / "data"
    Store(data).close()
    with sqlite3.connect(data / DATABASE_NAME) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()

    refused = run_cuelight("recommender", words[0], "--data", str(data), *words[1:])

    assert refused.returncode == 2
    assert last_line(refused.stderr) == (
        f"cuelight: error: {data / DATABASE_NAME}: made by a newer Cuelight: its schema is version "
        f"{len(MIGRATIONS) + 1}, this one knows up to {len(MIGRATIONS)}"
    )


@pytest.mark.parametrize("command", [["fit"], ["evaluate"], ["export", "--items", "i.csv"], ["backup", "--to", "copy"]])
def test_without_a_data_folder_it_is_said_what_makes_one(tmp_path: Path, command: list[str]) -> None:
    refused = run_cuelight("recommender", command[0], "--data", str(tmp_path / "no"), *command[1:])

    missing = tmp_path / "no" / DATABASE_NAME
    assert (refused.returncode, refused.stderr) == (
        2,
        f"cuelight: error: {missing}: no such database; cuelight recommender import makes one\n",
    )
