"""Somebody deletes the database under a server: it acknowledges nothing that is not kept, says so, and stops."""

import os
from pathlib import Path

import grpc
import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.store import DATABASE_NAME
from tests.serve_process import FRONTS, run_cuelight, running_recommender

TIMEOUT_S = 30.0


def record(stub: pb_grpc.RecommenderServiceStub, event_id: str) -> pb.RecordInteractionsResponse:
    events = [pb.Interaction(event_id=event_id, user_id="u", item_id="i")]
    return stub.RecordInteractions(iter([pb.RecordInteractionsRequest(interactions=events)]), timeout=TIMEOUT_S)


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
@pytest.mark.parametrize("front", FRONTS)
def test_a_write_after_the_database_is_deleted_is_refused_and_the_server_stops(front: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_recommender(data, tmp_path / "log", front=front) as server:
        with grpc.insecure_channel(server.target) as channel:
            stub = pb_grpc.RecommenderServiceStub(channel)
            assert record(stub, "kept").recorded == 1
            (data / DATABASE_NAME).unlink()

            with pytest.raises(grpc.RpcError) as refused:
                record(stub, "lost")

        assert isinstance(refused.value, grpc.Call)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert refused.value.details() == (
            f"{data / DATABASE_NAME}: deleted or replaced while it is in use; nothing more is kept, and the server "
            "stops"
        )
        assert server.exit_code() == 1
        assert "DataFolderLost" in server.log_text()


@pytest.mark.parametrize("front", FRONTS)
def test_a_server_does_not_begin_anew_in_a_database_of_0_bytes(front: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / DATABASE_NAME).touch()

    ended = run_cuelight(
        "recommender", "serve", "--data", str(data), "--port", "0", "--metrics-port", "0", "--front", front
    )

    assert ended.returncode == 2
    assert f"{DATABASE_NAME}: expected a database, found a file of 0 bytes" in ended.stderr
    assert "Traceback" not in ended.stderr
