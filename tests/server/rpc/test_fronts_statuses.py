"""How calls end, as gRPC's own client sees it, on either front."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from cuelight.server.rpc.status import INTERNAL_MESSAGE, STATUS_OF_ERROR
from cuelight.server.rpc.status import MAX_MESSAGE_BYTES as MAX_STATUS_BYTES
from tests.server.rpc.conftest import MAX_MESSAGE_BYTES, Probe, Server

CODES = {code.value[0]: code for code in grpc.StatusCode}
WITH_OTHER_ARGUMENTS = {"MessageTooLarge"}


def failure(probe: Probe, method: str, *arguments: object, **options: object) -> Any:
    """Return how the call fails."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = probe.call(method)(*arguments, **options)
        if not isinstance(answer, (Empty, BytesValue, Int64Value)):
            list(answer)
    return caught.value


def raw(probe: Probe, path: str, body: bytes) -> Any:
    """Return how a unary call with these bytes as message fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call: Any = probe.channel.unary_unary(path)
        call(body)
    return caught.value


@pytest.mark.parametrize("error", [error for error in STATUS_OF_ERROR if error.__name__ not in WITH_OTHER_ARGUMENTS])
def test_each_error_reaches_the_caller_with_its_code_and_message(probe: Probe, error: type) -> None:
    caught = failure(probe, "Fail", StringValue(value=f"{error.__name__}:what went wrong"))

    assert caught.code() is CODES[STATUS_OF_ERROR[error]]
    assert caught.details() == "what went wrong"


@pytest.mark.parametrize("message", ["100 % of 5/7", "größer als 4 µs: 日本語 🎧", "two\nlines\r\n\ttab", ""])
def test_a_message_survives_the_wire(probe: Probe, message: str) -> None:
    caught = failure(probe, "Fail", StringValue(value=f"InvalidRequest:{message}"))

    assert caught.details() == message


@pytest.mark.parametrize("letter", ["x", "é", "\n", "%"])
@pytest.mark.parametrize("length", [15_000, 1_000_000])
def test_a_message_of_any_length_reaches_the_caller_with_both_its_ends(probe: Probe, letter: str, length: int) -> None:
    caught = failure(probe, "Fail", StringValue(value=f"InvalidRequest:first {letter * length} last"))

    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(caught.details().encode()) <= MAX_STATUS_BYTES
    assert caught.details().startswith(f"first {letter * 100}")
    assert caught.details().endswith(f"{letter * 100} last")
    assert f"of {len(letter.encode()) * length + 11} bytes cut" in caught.details()


@pytest.mark.parametrize("length", [1000, 7000])
def test_a_long_name_of_a_method_is_unimplemented(probe: Probe, length: int) -> None:
    caught = raw(probe, f"/probe.Probe/{'x' * length}", b"")

    assert caught.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_unexpected_error_shows_a_fixed_text_and_a_request_id(probe: Probe) -> None:
    caught = failure(probe, "Fail", StringValue(value="RuntimeError:secret"), metadata=[("x-request-id", "request-17")])

    assert caught.code() is grpc.StatusCode.INTERNAL
    assert caught.details() == INTERNAL_MESSAGE
    assert ("x-request-id", "request-17") in [tuple(pair) for pair in caught.trailing_metadata()]


def test_an_overload_carries_a_retry_hint(start: Callable[..., Server]) -> None:
    server = start(config_json="0").ready()
    with server.channel() as channel:
        caught = failure(Probe(channel), "Echo", BytesValue())

    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.details() == "0 calls are in flight, the limit is 0"
    assert ("grpc-retry-pushback-ms", "100") in [tuple(pair) for pair in caught.trailing_metadata()]


def test_a_stream_that_fails_delivers_what_came_before(probe: Probe) -> None:
    answers = probe.FailAfter(Int64Value(value=3))
    got = [next(answers).value for _ in range(3)]

    with pytest.raises(grpc.RpcError) as caught:
        next(answers)

    assert got == [0, 1, 2]
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "the rest is missing")


def test_a_stream_may_fail_before_its_first_message(probe: Probe) -> None:
    caught = failure(probe, "FailAfter", Int64Value(value=0))

    assert caught.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("path", ["/probe.Probe/Missing", "/no.Such/Service", "/"])
def test_an_unknown_method_is_unimplemented(probe: Probe, path: str) -> None:
    caught = raw(probe, path, b"")

    assert caught.code() is grpc.StatusCode.UNIMPLEMENTED
    assert path in caught.details()


@pytest.mark.parametrize("method", ["Echo", "Pour"])
def test_bytes_that_are_no_message_are_the_callers_mistake(probe: Probe, method: str) -> None:
    caught = raw(probe, f"/probe.Probe/{method}", b"\xff\xff\xff")

    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "3 bytes" in caught.details() and "google.protobuf." in caught.details()


@pytest.mark.parametrize("method", ["Chat", "Sum"])
def test_a_stream_with_bytes_that_are_no_message_ends_with_that_mistake(probe: Probe, method: str) -> None:
    make: Any = probe.channel.stream_stream if method == "Chat" else probe.channel.stream_unary
    with pytest.raises(grpc.RpcError) as caught:
        list(make(f"/probe.Probe/{method}")(iter([b"", b"\xff\xff"])))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_reaches_the_handler_and_comes_back(probe: Probe) -> None:
    sent = [("echo-text", "a b;c"), ("echo-twice", "1"), ("echo-twice", "2"), ("echo-bin", b"\x00\xff\x10,")]
    described, call = probe.call("Describe").with_call(Empty(), metadata=[*sent, ("other-bin", b"\x01")])

    seen = [tuple(pair) for pair in described["metadata"]]
    for key, value in [*sent, ("other-bin", b"\x01")]:
        assert (key, value.hex() if isinstance(value, bytes) else value) in seen
    assert not {key for key, _ in seen} & {"te", "content-type", "host", "grpc-timeout", "grpc-accept-encoding"}
    assert [tuple(pair) for pair in call.trailing_metadata() if pair[0].startswith("echo-")] == sent


def test_a_stream_returns_trailing_metadata_too(probe: Probe) -> None:
    call = probe.DescribeStream(Empty(), metadata=[("echo-bin", b"\x00")])
    (described,) = call

    assert described["peer"].startswith("ipv4:127.0.0.1:")
    assert ("echo-bin", b"\x00") in [tuple(pair) for pair in call.trailing_metadata()]


@pytest.mark.parametrize("size_bytes", [0, 1, 16_383, 16_384, 1 << 20, MAX_MESSAGE_BYTES - 100])
def test_messages_up_to_the_limit_pass(probe: Probe, size_bytes: int) -> None:
    pattern = bytes(range(251))
    sent = (pattern * (size_bytes // 251 + 1))[:size_bytes]

    assert probe.Echo(BytesValue(value=sent)).value == sent


def test_a_message_beyond_the_limit_is_refused_with_both_sizes(probe: Probe) -> None:
    request = BytesValue(value=bytes(MAX_MESSAGE_BYTES + 1))
    caught = failure(probe, "Echo", request)

    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(request.ByteSize()) in caught.details()
    assert str(MAX_MESSAGE_BYTES) in caught.details()


@pytest.mark.parametrize("size_bytes", [10, 100_000])
def test_gzip_passes_both_ways(probe: Probe, size_bytes: int) -> None:
    request = BytesValue(value=b"cue" * size_bytes)

    assert probe.Echo(request, compression=grpc.Compression.Gzip) == request
    assert list(probe.Chat(iter([request] * 3), compression=grpc.Compression.Gzip)) == [request] * 3


def test_a_gzip_bomb_is_refused(probe: Probe) -> None:
    caught = failure(probe, "Echo", BytesValue(value=bytes(MAX_MESSAGE_BYTES + 1)), compression=grpc.Compression.Gzip)

    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
