"""How servers start and end, on either front: ports, signals, drains."""

import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from tests.server.rpc.conftest import Probe, Sender, Server

Start = Callable[..., Server]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def refusal(probe: Probe) -> Any:
    """Return how a new call fails."""
    with pytest.raises(grpc.RpcError) as caught:
        probe.Echo(BytesValue())
    return caught.value


def test_a_server_without_calls_leaves_at_once(start: Start) -> None:
    code, said = start().ready().stop()

    assert (code, said) == (0, "")


def test_sigint_ends_it_as_sigterm_does(start: Start) -> None:
    server = start().ready()
    server.process.send_signal(signal.SIGINT)

    assert server.ended() == (0, "")


def test_calls_in_flight_end_in_peace_and_new_ones_are_refused(start: Start) -> None:
    server = start().ready()
    with server.channel() as channel:
        probe = Probe(channel)
        unary = probe.Wait.future(StringValue(value="unary"))
        down = probe.WaitStream(StringValue(value="down"))
        sender = Sender(BytesValue(value=b"1"))
        both = probe.Chat(sender)
        first_answers = (next(down).value, next(both).value)
        for name in ("unary", "down"):
            probe.until(f"started:{name}")

        server.process.terminate()
        probe.until("draining")
        refused = refusal(probe)
        sender.send(BytesValue(value=b"2"))
        sender.close()
        for name in ("unary", "down"):
            probe.release(name)
        ended = (unary.exception(), [answer.value for answer in down], [answer.value for answer in both])

    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert first_answers == (1, b"1")
    assert ended == (None, [2], [b"2"])
    assert server.ended()[0] == 0


def test_calls_that_outlast_the_grace_period_are_cut(start: Start) -> None:
    server = start(grace_s=0.2).ready()
    with server.channel() as channel:
        probe = Probe(channel)
        call = probe.Wait.future(StringValue(value="outlasting"))
        probe.until("started:outlasting")
        server.process.terminate()
        error = call.exception()

    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert server.ended()[0] == 0


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    server = start(grace_s=3600).ready()
    with server.channel() as channel:
        probe = Probe(channel)
        call = probe.Wait.future(StringValue(value="stubborn"))
        probe.until("started:stubborn")
        server.process.terminate()
        probe.until("draining")
        server.process.terminate()

        assert server.ended()[0] == 128 + signal.SIGTERM
        assert call.exception() is not None


def test_a_port_in_use_ends_the_start_with_its_name(start: Start, taken_port: int) -> None:
    code, said = start(port=taken_port).ended()

    assert code == 2
    assert f"127.0.0.1:{taken_port}" in said and "in use" in said
    assert "Traceback" not in said


def test_an_application_that_cannot_start_says_why(start: Start) -> None:
    code, said = start(factory="tests.server.rpc.probe_service:build_broken", config_json='"this"').ended()

    assert code == 2
    assert said.splitlines()[-1] == 'cuelight: probe: cannot do "this"'
    assert "Traceback" not in said


def test_an_application_that_breaks_while_starting_shows_its_traceback(start: Start) -> None:
    code, said = start(config_json="not a number").ended()

    assert code == 1
    assert "ValueError: invalid literal for int()" in said


def test_the_same_port_serves_again_after_an_end(start: Start) -> None:
    first = start().ready()
    with first.channel() as channel:
        Probe(channel).Echo(BytesValue())
    first.stop()
    second = start(port=first.port).ready()
    with second.channel() as channel:
        assert Probe(channel).Echo(BytesValue(value=b"again")).value == b"again"
