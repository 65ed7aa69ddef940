"""Streams, cancellation, deadlines and flow control, as gRPC's own client sees them, on either front."""

import random
import subprocess
import sys
import threading
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from tests.server.rpc.conftest import CALL_TIMEOUT_S, Probe, Sender, Server
from tests.server.rpc.probe_service import POURED_BYTES

MIB = 1 << 20
ROUNDED_UP_S = 102
"""What the client may make of 100 s: it sends few digits and rounds up."""
DYING_CLIENT = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
channel.unary_unary("/probe.Probe/Wait")(sys.stdin.buffer.read())
"""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for the happenings of this test alone."""
    return str(request.node.name)


def code_of(call: Any) -> grpc.StatusCode:
    """Wait for the end of a call and return its code."""
    if isinstance(call, grpc.Future):
        call.exception()
    code: grpc.StatusCode = call.code()
    return code


def test_every_message_of_a_stream_is_answered_in_order(probe: Probe) -> None:
    sent = [BytesValue(value=b"%d" % index) for index in range(1000)]

    assert list(probe.Chat(iter(sent))) == sent


def test_an_answer_comes_before_the_next_request(probe: Probe) -> None:
    sender = Sender()
    answers = probe.Chat(sender)
    for index in range(50):
        sender.send(BytesValue(value=b"%d" % index))
        assert next(answers).value == b"%d" % index
    sender.close()

    assert list(answers) == []


def test_a_stream_of_requests_gets_one_answer(probe: Probe) -> None:
    assert probe.Sum(Int64Value(value=index) for index in range(101)).value == 5050


def test_no_requests_at_all_are_a_stream_too(probe: Probe) -> None:
    assert probe.Sum(iter(())).value == 0
    assert list(probe.Chat(iter(()))) == []


def test_answers_come_after_the_half_close(probe: Probe, name: str) -> None:
    answers = probe.LateAnswers(iter([BytesValue(value=name.encode()), BytesValue(value=b"second")]))
    probe.until(f"started:{name}")
    probe.release(name)

    assert [answer.value for answer in answers] == [name.encode(), b"second"]


def test_the_handler_sees_the_deadline(probe: Probe) -> None:
    assert probe.Describe(Empty())["remaining_s"] is None
    assert 90 < probe.Describe(Empty(), timeout=100)["remaining_s"] <= ROUNDED_UP_S
    (described,) = probe.DescribeStream(Empty(), timeout=100)
    assert 90 < described["remaining_s"] <= ROUNDED_UP_S


@pytest.mark.parametrize("method", ["Wait", "WaitStream"])
def test_a_deadline_cancels_the_handler(probe: Probe, name: str, method: str) -> None:
    make = probe.call(method) if method == "WaitStream" else probe.call(method).future
    call = make(StringValue(value=name), timeout=0.3)

    assert code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
    probe.until(f"cancelled:{name}")
    assert probe.settles()


@pytest.mark.parametrize("method", ["Wait", "WaitStream"])
def test_a_cancelled_call_cancels_the_handler(probe: Probe, name: str, method: str) -> None:
    make = probe.call(method) if method == "WaitStream" else probe.call(method).future
    call = make(StringValue(value=name))
    probe.until(f"started:{name}")
    call.cancel()

    probe.until(f"cancelled:{name}")
    assert probe.settles()


def test_a_cancelled_stream_cancels_a_handler_that_reads_nothing(probe: Probe, name: str) -> None:
    sender = Sender(BytesValue(value=name.encode()), BytesValue(value=b"unread"))
    call = probe.Sip(sender)
    probe.until(f"started:{name}")
    call.cancel()
    sender.close()

    probe.until(f"cancelled:{name}")
    assert probe.settles()


def test_a_cancelled_stream_cancels_a_handler_after_the_half_close(probe: Probe, name: str) -> None:
    call = probe.LateAnswers(iter([BytesValue(value=name.encode())]))
    probe.until(f"started:{name}")
    call.cancel()

    probe.until(f"cancelled:{name}")


def test_a_client_that_dies_cancels_its_calls(server: Server, probe: Probe, name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", DYING_CLIENT, server.target()], stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(StringValue(value=name).SerializeToString())
        client.stdin.close()
        probe.until(f"started:{name}")
        client.kill()

    probe.until(f"cancelled:{name}")
    assert probe.settles()


def test_a_slow_reader_holds_the_handler_back(probe: Probe, name: str) -> None:
    call = probe.Pour(StringValue(value=name))
    poured = [next(call), *(probe.Counted(StringValue(value=name)).value for _ in range(200))]
    settled = probe.Counted(StringValue(value=name)).value
    for _ in range(settled + 50):
        next(call)
    resumed = probe.Counted(StringValue(value=name)).value
    call.cancel()
    probe.until(f"ended:{name}")

    assert poured[-1] == settled, "the handler went on though nobody read"
    assert settled * POURED_BYTES < 24 * MIB
    assert resumed > settled


def test_a_slow_handler_holds_the_sender_back(server: Server, name: str) -> None:
    messages = 200
    sender = Sender(BytesValue(value=name.encode()), *(BytesValue(value=bytes(MIB)) for _ in range(messages)))
    sender.close()
    with server.channel() as sending, server.channel() as asking:
        answers = Probe(sending).Sip(sender)
        assert next(answers).value == "first"
        probe = Probe(asking)
        probe.until(f"started:{name}")
        for _ in range(200):
            probe.in_flight()
        held_at = sender.taken
        probe.release(name)
        total = int(next(answers).value)

    assert held_at < 32, "the sender went on though nobody read"
    assert total == messages * MIB


def test_a_long_held_stream_does_not_hold_up_its_neighbours(probe: Probe, name: str) -> None:
    held = [
        Sender(BytesValue(value=name.encode()), *(BytesValue(value=bytes(MIB)) for _ in range(8))) for _ in range(4)
    ]
    calls = [probe.Sip(sender) for sender in held]
    assert [next(call).value for call in calls] == ["first"] * 4

    assert len(probe.Echo(BytesValue(value=bytes(8 * MIB)), timeout=CALL_TIMEOUT_S).value) == 8 * MIB
    probe.release(name)
    for sender in held:
        sender.close()
    assert [int(next(call).value) for call in calls] == [8 * MIB] * 4


def test_five_hundred_streams_with_random_cancellations_leave_nothing_behind(server: Server, probe: Probe) -> None:
    chooser = random.Random(7)
    failures: list[str] = []
    channels = [server.channel(**{"grpc.use_local_subchannel_pool": 1}) for _ in range(4)]
    done = threading.Barrier(len(channels) + 1, timeout=CALL_TIMEOUT_S)

    def converse(stubs: Probe, seed: int) -> None:
        own = random.Random(seed)
        senders = [Sender(BytesValue(value=b"%d" % index)) for index in range(125)]
        calls = [stubs.Chat(sender) for sender in senders]
        for index in own.sample(range(125), 125):
            call, sender = calls[index], senders[index]
            if next(call).value != b"%d" % index:
                failures.append(f"stream {index} got another's answer")
            if own.random() < 0.5:
                call.cancel()
                sender.close()
                continue
            sender.send(BytesValue(value=b"last %d" % index))
            sender.close()
            if [answer.value for answer in call] != [b"last %d" % index]:
                failures.append(f"stream {index} lost its last answer")
        done.wait()

    workers = [
        threading.Thread(target=converse, args=(Probe(channel), chooser.random()), daemon=True) for channel in channels
    ]
    for worker in workers:
        worker.start()
    done.wait()
    for channel in channels:
        channel.close()

    assert failures == []
    assert probe.settles()
