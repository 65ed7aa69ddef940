"""`cuelight recommender serve` as users run it: a process, on both fronts, that learns, explains and forgets."""

import signal
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.store import Store
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_recommender

TIMEOUT_S = 30.0
N = 20


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(front: str, tmp_path: Path) -> Iterator[ServeProcess]:
    with running_recommender(tmp_path / "data", tmp_path / "log", front=front) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[pb_grpc.RecommenderServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield pb_grpc.RecommenderServiceStub(channel)


def like(user: object, item: object, value: float = 1.0) -> pb.Interaction:
    return pb.Interaction(
        event_id=f"{user}/{item}/{value}",
        user_id=str(user),
        item_id=str(item),
        value=value,
        time=Timestamp(seconds=1_700_000_000),
    )


def checkerboard() -> list[pb.Interaction]:
    """User u likes the items of u's parity but item u."""
    return [like(f"user {u}", f"item {i}") for u in range(N) for i in range(u % 2, N, 2) if i != u]


def record(
    stub: pb_grpc.RecommenderServiceStub, interactions: Iterable[pb.Interaction]
) -> pb.RecordInteractionsResponse:
    """Record, and wait until EASE's inverse has followed: a call that forgets returns no sooner."""
    requests = iter([pb.RecordInteractionsRequest(interactions=interactions)])
    recorded = stub.RecordInteractions(requests, timeout=TIMEOUT_S)
    stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=["nobody"]), timeout=TIMEOUT_S)
    return recorded


def shelf_of(stub: pb_grpc.RecommenderServiceStub, query: pb.Query, **options: object) -> pb.Shelf:
    request = pb.RecommendRequest(queries=[query], options=pb.ShelfOptions(**options))  # type: ignore[arg-type]
    [shelf] = stub.Recommend(request, timeout=TIMEOUT_S).shelves
    return shelf


def ids(shelf: pb.Shelf) -> list[str]:
    return [item.item_id for item in shelf.items]


def code_of(call: "grpc.Call | grpc.RpcError") -> grpc.StatusCode:
    assert isinstance(call, grpc.Call)
    return call.code()


def test_feedback_counts_in_the_next_answer_with_reasons_and_can_be_taken_back(
    stub: pb_grpc.RecommenderServiceStub,
) -> None:
    recorded = record(stub, checkerboard())
    assert (recorded.recorded, recorded.duplicates) == (len(checkerboard()), 0)
    again = record(stub, checkerboard()[:7])
    assert (again.recorded, again.duplicates) == (0, 7)

    [first, *_] = shelf_of(stub, pb.Query(user_id="user 4"), model="ease", explain=True).items
    assert first.item_id == "item 4"
    assert sum(reason.share for reason in first.reasons) == pytest.approx(first.score)
    assert {reason.item_id for reason in first.reasons} <= {f"item {i}" for i in range(0, N, 2)}

    newcomer = pb.Query(user_id="somebody new")
    cold = shelf_of(stub, newcomer)
    assert (cold.cold, cold.model) == (True, "popularity")
    record(stub, [like("somebody new", "item 1")])
    warm = shelf_of(stub, newcomer, model="item_cosine", n=3)
    assert not warm.cold
    assert all(int(item.removeprefix("item ")) % 2 for item in ids(warm))
    assert warm.model_version > cold.model_version

    taken_back = like("somebody new", "item 1")
    taken_back.event_id = "taken back"
    taken_back.withdrawn = True
    record(stub, [taken_back])
    assert shelf_of(stub, newcomer).cold


def test_a_forgotten_user_is_in_no_answer_and_in_no_byte(
    stub: pb_grpc.RecommenderServiceStub, server: ServeProcess, tmp_path: Path
) -> None:
    record(stub, [*checkerboard(), like("person-4711", "item 0"), like("person-4711", "secret taste")])
    assert len(stub.ExportUser(pb.ExportUserRequest(user_id="person-4711"), timeout=TIMEOUT_S).interactions) == 2

    forgotten = stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=["person-4711", "nobody"]), timeout=TIMEOUT_S)

    assert forgotten.forgotten == 1
    folder = tmp_path / "data"
    assert b"person-4711" not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert shelf_of(stub, pb.Query(user_id="person-4711")).cold
    with pytest.raises(grpc.RpcError) as raised:
        stub.ExportUser(pb.ExportUserRequest(user_id="person-4711"), timeout=TIMEOUT_S)
    assert code_of(raised.value) is grpc.StatusCode.NOT_FOUND


def test_filters_attributes_blends_and_batches(stub: pb_grpc.RecommenderServiceStub) -> None:
    record(stub, checkerboard())
    items = [
        pb.Item(item_id=f"item {i}", title=f"Song {i}", tags=["low" if i < 10 else "high"], numbers={"year": 1980 + i})
        for i in range(N)
    ]
    items[6].unavailable = True
    stub.UpsertItems(pb.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)
    assert stub.GetItem(pb.GetItemRequest(item_id="item 3"), timeout=TIMEOUT_S).item == items[3]

    asking = pb.Query(history=pb.History(items=[pb.LikedItem(item_id="item 2"), pb.LikedItem(item_id="unheard of")]))
    low = pb.Filter(any_tags=["low"], ranges=[pb.Range(name="year", min=1984)])
    assert set(ids(shelf_of(stub, asking, model="ease", filter=low, n=1000))) == {f"item {i}" for i in (4, 5, 7, 8, 9)}
    assert ids(shelf_of(stub, asking, filter=pb.Filter(all_tags=["low", "high"]))) == []
    blend = pb.Blend(weights={"ease": 1.0, "content_cosine": 0.5})
    assert len(ids(shelf_of(stub, asking, blend=blend, diversity=0.5, explain=True))) == 10

    request = pb.RecommendRequest(queries=[pb.Query(user_id=f"user {u}") for u in range(N)])
    request.options.model = "ease"
    request.options.filter.include_unavailable = True
    shelves = stub.Recommend(request, timeout=TIMEOUT_S).shelves
    assert [shelf.items[0].item_id for shelf in shelves] == [f"item {u}" for u in range(N)]

    stub.DeleteItems(pb.DeleteItemsRequest(item_ids=["item 4"]), timeout=TIMEOUT_S)
    assert "item 4" not in ids(shelf_of(stub, pb.Query(user_id="user 4"), n=1000))


def test_what_is_alike(stub: pb_grpc.RecommenderServiceStub) -> None:
    record(stub, checkerboard())

    alike = stub.SimilarItems(pb.SimilarItemsRequest(item_id="item 3"), timeout=TIMEOUT_S).shelf
    assert {item.item_id for item in alike.items if item.score > 0} == {f"item {i}" for i in range(1, N, 2) if i != 3}
    users = stub.SimilarUsers(pb.SimilarUsersRequest(user_id="user 3", n=50), timeout=TIMEOUT_S).users
    assert {user.user_id for user in users} == {f"user {u}" for u in range(1, N, 2) if u != 3}
    pairs = [
        pb.Pair(items=pb.IdPair(first_id="item 3", second_id="item 5")),
        pb.Pair(items=pb.IdPair(first_id="item 3", second_id="item 4")),
        pb.Pair(users=pb.IdPair(first_id="user 1", second_id="user 3")),
    ]
    [odd, mixed, neighbours] = stub.Similarity(pb.SimilarityRequest(pairs=pairs), timeout=TIMEOUT_S).similarities
    assert odd == pytest.approx(8 / (9 + 10))
    assert mixed == 0
    assert neighbours == pytest.approx(8 / (9 + 10))


def embedded(item: str, numbers: Iterable[float], space: str = "text", **fields: object) -> pb.Item:
    embeddings = {space: pb.Embedding(values=numbers)}
    return pb.Item(item_id=item, embeddings=embeddings, **fields)  # type: ignore[arg-type]


def test_what_is_near_by_embedding(stub: pb_grpc.RecommenderServiceStub) -> None:
    items = [embedded(f"item {i}", [float(i), 1.0], tags=["even" if i % 2 == 0 else "odd"]) for i in range(N)]
    items[3].unavailable = True
    stub.UpsertItems(pb.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)
    assert stub.GetItem(pb.GetItemRequest(item_id="item 7"), timeout=TIMEOUT_S).item == items[7]

    request = pb.NearestItemsRequest(n=3, filter=pb.Filter(any_tags=["odd"]))
    request.queries.add(embedding=pb.Embedding(values=[6.0, 2.0]))
    request.queries.add(item_id="item 1")
    answer = stub.NearestItems(request, timeout=TIMEOUT_S)
    lists = [[item.item_id for item in near.items] for near in answer.lists]
    assert lists == [["item 5", "item 7", "item 9"]] * 2
    assert answer.lists[0].items[0].cosine == pytest.approx(32 / (26 * 40) ** 0.5)
    assert answer.exact

    stub.UpsertItems(pb.UpsertItemsRequest(items=[pb.Item(item_id="item 5", tags=["odd"])]), timeout=TIMEOUT_S)
    stub.DeleteItems(pb.DeleteItemsRequest(item_ids=["item 7"]), timeout=TIMEOUT_S)
    answer = stub.NearestItems(request, timeout=TIMEOUT_S)
    assert [item.item_id for item in answer.lists[0].items] == ["item 9", "item 11", "item 13"]


TOO_LONG = "x" * 65


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (embedded("a", [1.0, 2.0, 3.0]), 'item "a": embeddings: space "text": expected 2 numbers as the others there'),
        (embedded("a", []), 'item "a": embeddings: space "text": expected 1 to 4096 numbers, got 0'),
        (embedded("a", [1.0] * 4097), 'item "a": embeddings: space "text": expected 1 to 4096 numbers, got 4097'),
        (embedded("a", [0.0, 0.0]), 'item "a": embeddings: space "text": expected a direction, got nothing but 0'),
        (embedded("a", [1.0, float("nan")]), 'item "a": embeddings: space "text": expected finite numbers, got nan'),
        (embedded("a", [1.0, 2.0], ""), 'item "a": embeddings: space: expected 1 to 64 bytes of UTF-8, got ""'),
        (embedded("a", [1.0, 2.0], TOO_LONG), 'item "a": embeddings: space: expected 1 to 64 bytes of UTF-8, got "65'),
    ],
    ids=["another length", "none", "too many", "nothing but 0", "nan", "no name", "a long name"],
)
def test_an_embedding_that_cannot_be_is_refused_with_all_of_its_call(
    stub: pb_grpc.RecommenderServiceStub, item: pb.Item, said: str
) -> None:
    stub.UpsertItems(pb.UpsertItemsRequest(items=[embedded("b", [1.0, 2.0])]), timeout=TIMEOUT_S)

    with pytest.raises(grpc.RpcError) as raised:
        stub.UpsertItems(pb.UpsertItemsRequest(items=[embedded("c", [1.0, 1.0]), item]), timeout=TIMEOUT_S)

    assert code_of(raised.value) is grpc.StatusCode.INVALID_ARGUMENT
    assert said in str(raised.value)
    near = stub.NearestItems(pb.NearestItemsRequest(queries=[pb.NearestQuery(item_id="b")]), timeout=TIMEOUT_S)
    assert not near.lists[0].items


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (pb.NearestItemsRequest(), grpc.StatusCode.INVALID_ARGUMENT, "queries: expected 1 to 1000, got 0"),
        (
            pb.NearestItemsRequest(queries=[pb.NearestQuery()]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "queries[0]: expected embedding or item_id, got neither",
        ),
        (
            pb.NearestItemsRequest(queries=[pb.NearestQuery(item_id="b")] * 1001),
            grpc.StatusCode.INVALID_ARGUMENT,
            "queries: expected 1 to 1000, got 1001",
        ),
        (
            pb.NearestItemsRequest(n=1001, queries=[pb.NearestQuery(item_id="b")]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "n: expected 1 to 1000",
        ),
        (
            pb.NearestItemsRequest(queries=[pb.NearestQuery(embedding=pb.Embedding(values=[1.0]))]),
            grpc.StatusCode.INVALID_ARGUMENT,
            'queries[0]: embedding: expected 2 numbers as space "text" has, got 1',
        ),
        (
            pb.NearestItemsRequest(space="sound", queries=[pb.NearestQuery(item_id="b")]),
            grpc.StatusCode.NOT_FOUND,
            'space "sound": there are "text"',
        ),
        (
            pb.NearestItemsRequest(queries=[pb.NearestQuery(item_id="nothing")]),
            grpc.StatusCode.NOT_FOUND,
            'item "nothing": it has no embedding in space "text"',
        ),
    ],
    ids=["no query", "an empty query", "too many", "n", "another length", "no such space", "no such item"],
)
def test_what_cannot_be_near_is_refused(
    stub: pb_grpc.RecommenderServiceStub, request_: pb.NearestItemsRequest, code: grpc.StatusCode, said: str
) -> None:
    stub.UpsertItems(pb.UpsertItemsRequest(items=[embedded("b", [1.0, 2.0])]), timeout=TIMEOUT_S)

    with pytest.raises(grpc.RpcError) as raised:
        stub.NearestItems(request_, timeout=TIMEOUT_S)

    assert code_of(raised.value) is code
    assert said in str(raised.value)


def test_a_watched_shelf_changes_as_feedback_arrives(stub: pb_grpc.RecommenderServiceStub) -> None:
    record(stub, checkerboard())
    options = pb.ShelfOptions(model="item_cosine", n=3)
    watch = stub.WatchRecommendations(
        pb.WatchRecommendationsRequest(query=pb.Query(user_id="new"), options=options), timeout=TIMEOUT_S
    )
    assert next(watch).shelf.cold

    record(stub, [like("new", "item 1")])

    changed = next(watch).shelf
    assert not changed.cold
    assert all(int(item.removeprefix("item ")) % 2 for item in ids(changed))
    watch.cancel()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (pb.ShelfOptions(n=1_000_000), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ShelfOptions(n=-1), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ShelfOptions(model="sasrec"), grpc.StatusCode.NOT_FOUND),
        (pb.ShelfOptions(blend=pb.Blend()), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.ShelfOptions(diversity=float("nan")), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["a million", "less than none", "no such model", "a blend of nothing", "diversity nan"],
)
def test_what_cannot_be_asked_is_refused(
    stub: pb_grpc.RecommenderServiceStub, options: pb.ShelfOptions, code: grpc.StatusCode
) -> None:
    record(stub, [like("u", "i"), like("v", "j")])

    with pytest.raises(grpc.RpcError) as raised:
        stub.Recommend(pb.RecommendRequest(queries=[pb.Query(user_id="u")], options=options), timeout=TIMEOUT_S)

    assert code_of(raised.value) is code


def test_an_empty_catalogue_has_an_empty_shelf(stub: pb_grpc.RecommenderServiceStub) -> None:
    shelf = shelf_of(stub, pb.Query(user_id="anybody"))

    assert (ids(shelf), shelf.cold) == ([], True)
    listed = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S)
    assert (listed.users, listed.items, listed.events) == (0, 0, 0)


def test_a_restart_changes_no_answer_and_a_second_process_is_refused(front: str, tmp_path: Path) -> None:
    shelves = []
    for _ in range(2):
        with (
            running_recommender(tmp_path / "data", tmp_path / "log", front=front) as server,
            grpc.insecure_channel(server.target) as channel,
        ):
            stub = pb_grpc.RecommenderServiceStub(channel)
            record(stub, checkerboard())
            shelves.append(shelf_of(stub, pb.Query(user_id="user 7"), model="hybrid"))
            refused = run_cuelight("recommender", "serve", "--data", str(tmp_path / "data"), "--port", "0")
            assert refused.returncode == 2
            assert "in use by process" in refused.stderr
            metrics = f"http://127.0.0.1:{server.metrics_port}/metrics"
            with urllib.request.urlopen(metrics, timeout=TIMEOUT_S) as answer:
                assert "cuelight_recommender_version" in answer.read().decode()
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0
    assert ids(shelves[0]) == ids(shelves[1])
    store = Store(tmp_path / "data")
    assert store.count_events() == len(checkerboard())
    store.close()
