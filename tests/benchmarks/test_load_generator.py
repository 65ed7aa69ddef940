"""The load generator of benchmarks/recommender.py: servers understand what it sends, and what it counts is right."""

import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, repeat
from typing import Any

import grpc
import pytest

from benchmarks.closed_loop import Flow, percentiles_ms, run_flows
from benchmarks.grpc_wire import MAX_MESSAGE_BYTES, GrpcWire, framed, framed_in_parts
from benchmarks.h2_frames import DATA, END_HEADERS, END_STREAM, HEADER, HEADERS, PREFACE, SETTINGS, frame
from benchmarks.http_wire import HttpWire, post

METHOD = "/test.Service/Method"


@pytest.fixture
def port() -> Iterator[int]:
    """A grpcio server that joins a call's messages and refuses "bad" ones.

    It takes a moment over "slow" ones, and over "never" ones until it is stopped.
    """
    stopped = threading.Event()

    def joined(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        whole = b"".join(messages)
        if whole.startswith(b"bad"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")
        if whole.startswith(b"slow"):
            time.sleep(0.05)
        if whole.startswith(b"never"):
            stopped.wait()
        return whole

    server = grpc.server(ThreadPoolExecutor(8))
    handlers: dict[str, Any] = {"Method": grpc.stream_unary_rpc_method_handler(joined)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    bound = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield bound
    stopped.set()
    server.stop(None).wait()


def flow(port: int, bodies: Iterator[Sequence[bytes]], calls: int, kept: dict[bytes, bytes]) -> Flow:
    def keep(body: Sequence[bytes], answer: bytes) -> None:
        kept[b"".join(message[5:] for message in body)] = answer

    return Flow(("127.0.0.1", port), partial(GrpcWire, METHOD), bodies, calls, min(calls, 2), kept=keep)


def test_every_call_gets_its_own_answer(port: int) -> None:
    kept: dict[bytes, bytes] = {}
    bodies = ([framed(b"call %d" % number)] for number in count())

    [sampled] = run_flows([flow(port, bodies, 6, kept)], 0.2, 0.0)

    assert sampled.failed == 0
    assert len(sampled.latencies_s) >= 20
    assert len(kept) >= len(sampled.latencies_s)
    assert all(asked == answer for asked, answer in kept.items())


def test_a_call_of_many_messages_waits_for_the_servers_windows(port: int) -> None:
    kept: dict[bytes, bytes] = {}
    messages = [bytes([65 + number]) * MAX_MESSAGE_BYTES for number in range(20)]

    run_flows([flow(port, repeat([framed(one) for one in messages]), 1, kept)], 0.05, 0.0)

    assert list(kept.values()) == [b"".join(messages)]


def test_a_message_larger_than_a_frame_and_than_the_servers_windows_arrives_whole(port: int) -> None:
    kept: dict[bytes, bytes] = {}
    large = bytes(range(256)) * 3000

    [sampled] = run_flows([flow(port, repeat(framed_in_parts(large)), 4, kept)], 0.05, 0.0)

    assert sampled.failed == 0
    assert list(kept.values()) == [large]


def test_refused_calls_are_counted_and_harm_no_other(port: int) -> None:
    kept: dict[bytes, bytes] = {}
    bodies = ([framed(b"bad" if number % 2 else b"good")] for number in count())

    [sampled] = run_flows([flow(port, bodies, 2, kept)], 0.2, 0.0)

    assert sampled.failed > 0
    assert abs(sampled.failed - len(sampled.latencies_s)) <= 2
    assert kept == {b"good": b"good"}


def test_what_the_clock_owes_counts_as_waiting(port: int) -> None:
    """One at a time, 50 ms each, 40 a second: the server falls behind, and calls wait ever longer."""
    paced = Flow(("127.0.0.1", port), partial(GrpcWire, METHOD), repeat([framed(b"slow")]), per_s=40.0)

    [sampled] = run_flows([paced], 1.0, 0.0)

    first, last = sampled.latencies_s[0], sampled.latencies_s[-1]
    owed_s = (len(sampled.latencies_s) - 1) * (0.05 - 1 / 40)
    assert last - first >= owed_s * 0.9


def test_a_pace_that_the_server_holds_is_kept(port: int) -> None:
    paced = Flow(("127.0.0.1", port), partial(GrpcWire, METHOD), repeat([framed(b"x")]), 4, 2, per_s=100.0)

    [sampled] = run_flows([paced], 0.5, 0.0)

    assert len(sampled.latencies_s) <= 0.5 * 100 + 1


def test_calls_that_never_end_have_failed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.closed_loop._END_LIMIT_S", 0.0)
    monkeypatch.setattr("benchmarks.closed_loop._LONGER_S", 0.0)

    [sampled] = run_flows([flow(port, repeat([framed(b"never")]), 3, {})], 0.1, 0.0)

    assert (sampled.latencies_s, sampled.failed) == ([], 3)


def test_a_message_that_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=f"expected at most {MAX_MESSAGE_BYTES} bytes, got {MAX_MESSAGE_BYTES + 1}"):
        framed(b"x" * (MAX_MESSAGE_BYTES + 1))


def test_windows_are_kept_to_frame_by_frame() -> None:
    """Source: RFC 9113, section 6.9: 65,535 bytes at first; a SETTINGS frame moves the windows of streams alone."""
    wire = GrpcWire(METHOD)
    message = framed(b"x" * MAX_MESSAGE_BYTES)
    wire.call([message] * 5)

    assert sizes(wire) == [16_384] * 3, "a fourth would pass 65,535"

    wire.receive(frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + (100_000).to_bytes(4, "big")))
    assert sizes(wire) == [], "the connection's window is as it was"
    wire.receive(frame(8, 0, 0, (40_000).to_bytes(4, "big")))
    assert sizes(wire) == [16_384] * 2


def test_an_answer_in_pieces_is_one_answer_and_none_is_a_failure() -> None:
    wire = GrpcWire(METHOD)
    first, second = wire.call([framed(b"a")]), wire.call([framed(b"b")])
    answered = (
        frame(HEADERS, END_HEADERS, first, b"")
        + frame(DATA, 0, first, framed(b"hello")[:7])
        + frame(DATA, 0, first, framed(b"hello")[7:])
        + frame(HEADERS, END_HEADERS | END_STREAM, second, b"")
        + frame(HEADERS, END_HEADERS | END_STREAM, first, b"")
    )

    ended = [end for at in range(len(answered)) for end in wire.receive(answered[at : at + 1])]

    assert ended == [(second, None), (first, b"hello")]


def sizes(wire: GrpcWire) -> list[int]:
    """Take what is due; return the sizes of its DATA frames."""
    data = b"".join(wire.outgoing).removeprefix(PREFACE)
    wire.outgoing.clear()
    found, position = [], 0
    while position < len(data):
        length_and_kind, _, _ = HEADER.unpack_from(data, position)
        position += HEADER.size + (length_and_kind >> 8)
        if length_and_kind & 0xFF == DATA:
            found.append(length_and_kind >> 8)
    return found


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what came; 500 to an empty body."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if body else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


def test_http_calls_get_their_answers_and_a_status_that_is_not_200_is_a_failure() -> None:
    kept: list[tuple[Sequence[bytes], bytes]] = []
    bodies = ([post("/", json.dumps({"call": number}).encode() if number % 3 else b"")] for number in count())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = ("127.0.0.1", server.server_port)
            asked = Flow(address, HttpWire, bodies, 3, 3, kept=lambda body, answer: kept.append((body, answer)))
            [sampled] = run_flows([asked], 0.2, 0.0)
        finally:
            server.shutdown()
            thread.join()

    assert sampled.failed > 0
    assert kept
    assert all(body[0].endswith(b"\r\n\r\n" + answer) for body, answer in kept)


def test_percentiles_are_of_the_calls_that_were() -> None:
    found = percentiles_ms([number / 1000 for number in range(101)])

    assert found == pytest.approx({"p50_ms": 50.0, "p99_ms": 99.0, "longest_ms": 100.0})
