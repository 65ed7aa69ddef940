"""When the client tries again: tables of the rule, then real calls against a server that refuses."""

from collections.abc import Callable, Iterator
from concurrent import futures
from threading import Event

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from cuelight.client import Channel, DeadlineExceeded, InvalidRequest, Overloaded, RetryPolicy, Unavailable
from cuelight.client.retries import is_broken

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
POLICY = RetryPolicy(max_attempts=4, initial_backoff_s=0.1, max_backoff_s=0.3, multiplier=2.0)


@pytest.mark.parametrize(
    ("attempt", "code", "pushback_ms", "remaining_s", "jitter", "delay_s"),
    [
        (1, UNAVAILABLE, None, None, 0.0, 0.08),  # jitter spreads over 0.8 to 1.2 of the backoff
        (1, UNAVAILABLE, None, None, 0.5, 0.1),
        (2, UNAVAILABLE, None, None, 0.5, 0.2),
        (3, UNAVAILABLE, None, None, 0.5, 0.3),  # bounded by max_backoff_s
        (4, UNAVAILABLE, None, None, 0.5, None),  # the last attempt
        (1, EXHAUSTED, "250", None, 0.5, 0.25),  # the server's hint takes the backoff's place
        (1, EXHAUSTED, "0", None, 0.5, 0.0),
        (1, EXHAUSTED, "-1", None, 0.5, None),  # "do not retry"
        (1, EXHAUSTED, "soon", None, 0.5, None),
        (1, UNAVAILABLE, None, 0.05, 0.5, None),  # the deadline would pass while waiting
        (1, UNAVAILABLE, None, 0.2, 0.5, 0.1),
        (1, grpc.StatusCode.INVALID_ARGUMENT, None, None, 0.5, None),
        (1, grpc.StatusCode.DEADLINE_EXCEEDED, None, None, 0.5, None),
    ],
)
def test_the_next_attempt_waits_or_never_comes(
    attempt: int,
    code: grpc.StatusCode,
    pushback_ms: str | None,
    remaining_s: float | None,
    jitter: float,
    delay_s: float | None,
) -> None:
    waited_s = POLICY.delay_s(attempt, code, pushback_ms, remaining_s, jitter)

    assert waited_s == (None if delay_s is None else pytest.approx(delay_s))


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"initial_backoff_s": -1.0}, {"multiplier": 0.5}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


class Refusing:
    """A server that refuses the first calls as it is told and then answers with the number of calls it saw."""

    def __init__(self) -> None:
        self.refusals: list[tuple[grpc.StatusCode, str | None]] = []
        self.calls = 0
        self.going = Event()
        self.going.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(self._answer, Int64Value.FromString, Int64Value.SerializeToString)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Refusing", {"Call": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _answer(self, request: Int64Value, context: grpc.ServicerContext) -> Int64Value:
        self.calls += 1
        assert self.going.wait(30)
        if self.refusals:
            code, pushback_ms = self.refusals.pop(0)
            if pushback_ms is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback_ms), ("x-request-id", "seven")))
            context.abort(code, "not now")
        return Int64Value(value=self.calls)


@pytest.fixture
def server() -> Iterator[Refusing]:
    refusing = Refusing()
    yield refusing
    refusing.stop()


@pytest.fixture
def call(server: Refusing) -> Iterator[Callable[..., int]]:
    with Channel(server.address, retries=RetryPolicy(max_attempts=3, initial_backoff_s=0.001)) as channel:

        def make(timeout_s: float = 30.0) -> int:
            response = channel.call("/test.Refusing/Call", Int64Value(), Int64Value, timeout_s)
            return int(response.value)

        yield make


def test_a_call_that_is_refused_twice_succeeds_at_the_third_attempt(server: Refusing, call: Callable[..., int]) -> None:
    server.refusals = [(UNAVAILABLE, None), (EXHAUSTED, "1")]

    assert call() == 3


def test_the_last_refusal_is_what_the_caller_sees(server: Refusing, call: Callable[..., int]) -> None:
    server.refusals = [(EXHAUSTED, "1")] * 3

    with pytest.raises(Overloaded, match=r"not now \(request id seven\)") as refused:
        call()

    assert server.calls == 3
    assert (refused.value.code, refused.value.request_id) == (EXHAUSTED, "seven")


def test_a_hint_beyond_the_deadline_ends_the_attempts(server: Refusing, call: Callable[..., int]) -> None:
    server.refusals = [(EXHAUSTED, "60000")]

    with pytest.raises(Overloaded):
        call(timeout_s=10.0)

    assert server.calls == 1


def test_what_cannot_get_better_is_not_tried_again(server: Refusing, call: Callable[..., int]) -> None:
    server.refusals = [(grpc.StatusCode.INVALID_ARGUMENT, None)]

    with pytest.raises(InvalidRequest):
        call()

    assert server.calls == 1


def test_no_server_is_unavailable(server: Refusing) -> None:
    server.stop()
    with (
        Channel(server.address, retries=RetryPolicy(max_attempts=2, initial_backoff_s=0.001)) as channel,
        pytest.raises(Unavailable),
    ):
        channel.call("/test.Refusing/Call", Int64Value(), Int64Value, 30.0)


def test_a_deadline_is_the_callers_own_error(server: Refusing, call: Callable[..., int]) -> None:
    server.going.clear()

    with pytest.raises(DeadlineExceeded):
        call(timeout_s=0.05)
    server.going.set()


@pytest.mark.parametrize(
    ("code", "details", "broken"),
    [
        (grpc.StatusCode.INTERNAL, "Internal error from Core", True),  # grpcio's words, sent while the server died
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", True),
        (grpc.StatusCode.UNKNOWN, "Stream removed", True),
        (grpc.StatusCode.CANCELLED, "", True),
        (grpc.StatusCode.INTERNAL, "internal error", False),  # the server's own words
        (grpc.StatusCode.UNAVAILABLE, "the server is shutting down", False),
    ],
)
def test_a_stream_that_broke_is_told_from_one_that_was_refused(
    code: grpc.StatusCode, details: str, broken: bool
) -> None:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)

    assert is_broken(error) is broken
