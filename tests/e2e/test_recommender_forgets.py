"""No byte is left of somebody who was forgotten, while the server runs and after; a backup is one moment, and restores.

Every file of the folder is searched, the write-ahead log and its index included.
"""

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import grpc
import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.snapshot import Snapshot
from cuelight.server.recommender.store.store import DATABASE_NAME
from tests.serve_process import FRONTS, ServeProcess, environment, running_recommender, serve_command

TIMEOUT_S = 60.0
SECRET = "person-4711"
OTHERS = 400

Stub = pb_grpc.RecommenderServiceStub


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServeProcess]:
    with running_recommender(tmp_path / "data", tmp_path / "log", front=str(request.param)) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[Stub]:
    with grpc.insecure_channel(server.target) as channel:
        yield Stub(channel)


def record(stub: Stub, user: str, first: int, events: int) -> None:
    told = [
        pb.Interaction(event_id=f"{user}/{n}", user_id=user, item_id=f"item {n % 97}")
        for n in range(first, first + events)
    ]
    stub.RecordInteractions(iter([pb.RecordInteractionsRequest(interactions=told)]), timeout=TIMEOUT_S)


def fill(stub: Stub) -> None:
    """Spread what the one user does among what others do, so that it is on many pages."""
    for n in range(0, OTHERS, 4):
        record(stub, f"other {n}", n, 40)
        record(stub, SECRET, n, 4)


def files_with(secret: str, folder: Path) -> list[str]:
    """Return the names of all files below a folder that have the text in them."""
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def forget(stub: Stub) -> int:
    return stub.ForgetUsers(pb.ForgetUsersRequest(user_ids=[SECRET]), timeout=TIMEOUT_S).forgotten


def test_no_byte_is_left_while_the_server_runs_and_after(server: ServeProcess, stub: Stub, tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(stub)
    assert files_with(SECRET, data), "it is there before, or nothing is tried"

    assert forget(stub) == 1

    assert files_with(SECRET, data) == []
    record(stub, "somebody else", 0, 50)
    assert files_with(SECRET, data) == []
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert files_with(SECRET, data) == []
    assert "somebody else" in {event.user for event in events_in(data)}


def test_while_a_backup_reads_it_is_said_to_call_again_and_then_no_byte_is_left(stub: Stub, tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(stub)
    with Snapshot(data) as reading:  # as `backup` and `export` hold one
        with pytest.raises(grpc.RpcError) as raised:
            forget(stub)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == (
            f"{data / DATABASE_NAME}: a reader keeps the write-ahead log; what was deleted is still in it"
        )
        shelf = stub.Recommend(pb.RecommendRequest(queries=[pb.Query(user_id=SECRET)]), timeout=TIMEOUT_S).shelves[0]
        assert shelf.cold, "forgotten all the same"
        assert SECRET in {event.user for event in reading.events(True)}, "the reader sees what stood"

    assert forget(stub) == 0

    assert files_with(SECRET, data) == []


@pytest.mark.slow
def test_a_backup_made_while_events_flow_has_all_that_was_acknowledged_before_and_can_be_served(
    server: ServeProcess, stub: Stub, tmp_path: Path
) -> None:
    fill(stub)
    acknowledged = Flow(stub)
    with acknowledged:
        acknowledged.wait_for(50)
        before = acknowledged.events
        copy = tmp_path / "restored"
        command = serve_command("recommender", "backup", "--data", str(tmp_path / "data"), "--to", str(copy))
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT_S
        )
        after = acknowledged.events

    assert done.returncode == 0, done.stderr
    assert re.search(rf"^backup +{copy}/{DATABASE_NAME}: [\d]+ events, .* MiB, whole$", done.stdout, re.MULTILINE)
    assert after > before, "the server recorded on meanwhile"
    kept = sorted(int(event.id.split("/")[1]) for event in events_in(copy) if event.user == "flow")
    assert kept == list(range(len(kept))), "a backup is one moment: none without those before it"
    assert len(kept) >= before
    with running_recommender(copy, tmp_path / "log of the copy") as second, grpc.insecure_channel(second.target) as to:
        restored = Stub(to)
        assert restored.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).events == len(events_in(copy))
        record(restored, "flow", 0, after)  # what came since is told again, and counts once
        told = restored.ExportUser(pb.ExportUserRequest(user_id="flow"), timeout=TIMEOUT_S).interactions
        assert len(told) == max(after, len(kept))


class Flow:
    """Events of one user, one after the other, from its making until it is left; `events` were acknowledged."""

    def __init__(self, stub: Stub) -> None:
        self.events = 0
        self._stub = stub
        self._left = threading.Event()
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._tell)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def wait_for(self, events: int) -> None:
        """Return once so many were acknowledged."""
        with self._told:
            assert self._told.wait_for(lambda: self.events >= events, TIMEOUT_S)

    def _tell(self) -> None:
        for n in count():
            if self._left.is_set():
                return
            record(self._stub, "flow", n, 1)
            with self._told:
                self.events = n + 1
                self._told.notify_all()


def events_in(folder: Path) -> list[Event]:
    with Snapshot(folder) as snapshot:
        return list(snapshot.events(all_events=True))
