"""A disk that is full: said as it is, nothing acknowledged is lost, questions are answered, and room makes it go on."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.store import DATABASE_NAME, Store
from tests.serve_process import FRONTS, running_recommender

TIMEOUT_S = 30.0
DISK = "2m"
BALLAST_BYTES = 600_000
LARGEST_FILE_BYTES = 600_000
PER_CALL = 200
LIMITS_OTHERS = sys.platform == "linux"
"""Only there a process can be given a limit from outside."""

Stub = pb_grpc.RecommenderServiceStub


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with a file on it that can be removed to make room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (disk / "ballast").write_bytes(bytes(BALLAST_BYTES))
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def record(stub: Stub, first: int) -> None:
    events = [
        pb.Interaction(event_id=f"e{n}", user_id=f"user {n % 90}", item_id=f"item {n % 70}")
        for n in range(first, first + PER_CALL)
    ]
    requests = iter([pb.RecordInteractionsRequest(interactions=events)])
    stub.RecordInteractions(requests, timeout=TIMEOUT_S)


def record_until_refused(stub: Stub) -> tuple[int, str]:
    """Return how many events were acknowledged, and with what the next ones were refused."""
    for first in range(0, 1_000_000, PER_CALL):
        try:
            record(stub, first)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()
            return first, error.details() or ""
    pytest.fail("nothing is refused")


def shelf_size(stub: Stub) -> int:
    request = pb.RecommendRequest(queries=[pb.Query(user_id="user 1")])
    return len(stub.Recommend(request, timeout=TIMEOUT_S).shelves[0].items)


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_a_full_disk_loses_nothing_and_room_makes_it_go_on(front: str, small_disk: Path, tmp_path: Path) -> None:
    data = small_disk / "data"
    with running_recommender(data, tmp_path / "log", front=front) as server:
        with grpc.insecure_channel(server.target) as channel:
            stub = Stub(channel)
            acknowledged, text = record_until_refused(stub)
            assert text == f"{data / DATABASE_NAME}: the disk is full; nothing of this was kept"
            assert stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).events == acknowledged > 0
            assert shelf_size(stub) == 10
            forgetting = pb.ForgetUsersRequest(user_ids=["user 3"])
            with pytest.raises(grpc.RpcError) as raised:
                stub.ForgetUsers(forgetting, timeout=TIMEOUT_S)
            assert isinstance(raised.value, grpc.Call)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"{data / DATABASE_NAME}: the disk is full" in (raised.value.details() or "")

            (small_disk / "ballast").unlink()

            record(stub, acknowledged)
            assert stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).events > 0
        assert "Traceback" not in server.whole_log()


@pytest.mark.skipif(not LIMITS_OTHERS, reason="no process can be limited from outside")
def test_a_limit_on_the_size_of_files_is_as_a_full_disk(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_recommender(data, tmp_path / "log") as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
        with grpc.insecure_channel(server.target) as channel:
            stub = Stub(channel)
            acknowledged, text = record_until_refused(stub)
            assert text.startswith(f"{data / DATABASE_NAME}: the disk takes no more (a quota, a limit on")
            assert shelf_size(stub) == 10
        assert "Traceback" not in server.whole_log()
    store = Store(data)
    assert store.count_events() == acknowledged > 0
    store.close()
