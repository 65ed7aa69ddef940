"""Servers of the probe service on either front, each a process of its own, and gRPC's own client to call them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue

from cuelight.server.rpc.envoy_available import envoy_available
from tests.server.rpc.probe_service import METHODS, SERVICE

ROOT = Path(__file__).resolve().parents[3]
FRONTS = ("grpcio", "envoy")
MAX_MESSAGE_BYTES = 64 << 20
START_TIMEOUT_S = 30
CALL_TIMEOUT_S = 30
"""So that a test which hangs fails; no test depends on it."""
SETTLING_QUESTIONS = 2000
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class Server:
    """One front with the probe service, as a child process."""

    def __init__(self, front: str, **options: Any) -> None:
        self.front = front
        chosen = {
            "port": 0,
            "grace_s": 10,
            "max_message_bytes": MAX_MESSAGE_BYTES,
            "factory": "tests.server.rpc.probe_service:build",
            "config_json": "1000",
            **options,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.rpc.host", front, json.dumps(chosen)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = 0

    def ready(self) -> "Server":
        """Wait for the port."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the {self.front} server did not start:\n{self.ended()[1]}")
        self.port, _ = json.loads(line)
        return self

    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self, **options: Any) -> grpc.Channel:
        return grpc.insecure_channel(self.target(), options=(*UNLIMITED, *options.items()))

    def ended(self) -> tuple[int, str]:
        """Wait for the end and return the exit code and what was said on stderr."""
        try:
            _, said = self.process.communicate(timeout=START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, said

    def stop(self) -> tuple[int, str]:
        """Ask the server to end and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


class Probe:
    """The probe service's stub: `probe.Echo(message)` and so on, with `probe.call("Echo")` for everything else."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def call(self, name: str) -> Any:
        cardinality, request_type, response_type = METHODS[name]
        kind = "_".join("stream" if streams else "unary" for streams in cardinality.value)
        make: Callable[..., Any] = getattr(self.channel, kind)
        return make(f"/{SERVICE}/{name}", request_type.SerializeToString, response_type.FromString)

    def __getattr__(self, name: str) -> Any:
        return self.call(name)

    def until(self, happening: str) -> None:
        """Wait until a handler has noted the happening."""
        self.Until(StringValue(value=happening), timeout=CALL_TIMEOUT_S)

    def release(self, name: str) -> None:
        self.Release(StringValue(value=name), timeout=CALL_TIMEOUT_S)

    def in_flight(self) -> int:
        return int(self.InFlight(Empty(), timeout=CALL_TIMEOUT_S).value)

    def settles(self) -> bool:
        """Whether no call is left inside, after as many questions as it takes for the news to get around."""
        return any(self.in_flight() == 0 for _ in range(SETTLING_QUESTIONS))


@pytest.fixture(scope="session", params=FRONTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the tests of one front share; none may end it."""
    serving = Server(skip_without(request.param)).ready()
    yield serving
    code, said = serving.stop()
    assert code == 0, said


@pytest.fixture
def probe(server: Server) -> Iterator[Probe]:
    with server.channel() as channel:
        yield Probe(channel)


@pytest.fixture(params=FRONTS)
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Start servers of one front that the test may end as it likes."""
    skip_without(request.param)
    started: list[Server] = []

    def begin(**options: Any) -> Server:
        started.append(Server(request.param, **options))
        return started[-1]

    yield begin
    for serving in started:
        if serving.process.poll() is None:
            serving.process.kill()
        serving.ended()


def skip_without(front: str) -> str:
    """Return the front's name; skip the test where it cannot run."""
    reason = envoy_available() if front == "envoy" else None
    if reason is not None:
        pytest.skip(reason)
    return front


class Sender:
    """An iterator of requests that the test feeds, and that knows how many were taken."""

    def __init__(self, *messages: Any) -> None:
        self._pending = list(messages)
        self._closed = False
        self._changed = threading.Condition()
        self.taken = 0

    def __iter__(self) -> "Sender":
        return self

    def __next__(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            if not self._pending:
                raise StopIteration
            self.taken += 1
            return self._pending.pop(0)

    def send(self, message: Any) -> None:
        with self._changed:
            self._pending.append(message)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
