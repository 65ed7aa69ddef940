"""The sequential model beside a server that runs: trained, taken up, asked, and gone with a user it knew."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_recommender

TIMEOUT_S = 60.0
TRAIN_TIMEOUT_S = 600.0
N = 8
WORDS = ("--width", "8", "--length", "6", "--batch", "4", "--epochs", "3")


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServeProcess]:
    with running_recommender(tmp_path / "data", tmp_path / "log", front=str(request.param)) as running:
        yield running


def sequential(stub: pb_grpc.RecommenderServiceStub) -> pb.Model:
    listed = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).models
    [found] = [model for model in listed if model.name == "sequential"]
    return found


def taken_up(stub: pb_grpc.RecommenderServiceStub) -> None:
    """Wait until the model is served; it is another process that takes it up, and says so nowhere but here."""
    until_s = time.monotonic() + TIMEOUT_S
    while not sequential(stub).ready:
        assert time.monotonic() < until_s, sequential(stub).detail
        time.sleep(0.2)


def session(*items: int) -> pb.Query:
    return pb.Query(history=pb.History(items=[pb.LikedItem(item_id=f"item {item}") for item in items]))


def test_a_model_is_trained_beside_a_server_serves_in_it_and_goes_with_whom_it_knew(
    server: ServeProcess, tmp_path: Path
) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = pb_grpc.RecommenderServiceStub(channel)
        circle = [
            pb.Interaction(
                event_id=f"{user}/{step}",
                user_id=f"user {user}",
                item_id=f"item {(user + step) % N}",
                time=Timestamp(seconds=1_700_000_000 + step),
            )
            for user in range(N)
            for step in range(5)
        ]
        stub.RecordInteractions(iter([pb.RecordInteractionsRequest(interactions=circle)]), timeout=TIMEOUT_S)
        assert not sequential(stub).ready
        assert "cuelight recommender train" in sequential(stub).detail

        trained = run_cuelight(
            "recommender", "train", "--data", str(tmp_path / "data"), *WORDS, timeout_s=TRAIN_TIMEOUT_S
        )

        assert trained.returncode == 0, trained.stderr
        taken_up(stub)
        assert sequential(stub).detail == ""
        options = pb.ShelfOptions(model="sequential", explain=True)
        queries = [pb.Query(user_id="user 3"), session(1, 2), session(2, 1)]
        answer = stub.Recommend(pb.RecommendRequest(queries=queries, options=options), timeout=TIMEOUT_S)
        of_user, there, back = answer.shelves
        assert {item.item_id for item in of_user.items} == {"item 0", "item 1", "item 2"}
        for shelf in answer.shelves:
            for item in shelf.items:
                assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=1e-12)
        assert {item.item_id for item in there.items} == {item.item_id for item in back.items}
        assert [item.score for item in there.items] != [item.score for item in back.items]

        stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=["user 5"]), timeout=TIMEOUT_S)

        with pytest.raises(grpc.RpcError) as raised:
            stub.Recommend(pb.RecommendRequest(queries=queries, options=options), timeout=TIMEOUT_S)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "knew somebody who was forgotten" in (raised.value.details() or "")
        assert list((tmp_path / "data" / "models" / "sequential").iterdir()) == []
