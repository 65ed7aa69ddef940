"""Streams that wait for an answer before they send the next message: what h2load cannot do.

A client for this alone: prior-knowledge HTTP/2, one connection a stream as from as many callers, no headers looked at,
no flow control of its own beyond announcing windows that are never used up. A message costs it some ten microseconds,
so it is not what is measured.

Source: gRPC over HTTP/2.
"""

import selectors
import socket
import statistics
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.h2_frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADERS,
    PING,
    PREFIX_BYTES,
    RST_STREAM,
    SETTINGS,
    frame,
    opening,
)
from benchmarks.load import Measurement

__all__ = ["measure_ping_pong"]

_AT_ONCE = 200
"""Streams opened together: a bare gRPC server cancels some of those that come when 1,000 wait to be looked at."""
_RECEIVE_BYTES = 1 << 18
_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


def measure_ping_pong(
    port: int, messages: Sequence[tuple[bytes, bytes]], seconds: float, under_way: int = 1
) -> Measurement:
    """Keep `under_way` messages of each stream under way for `seconds` after a warm-up of one second.

    `messages` holds each stream's first message and the one that follows it for ever, framed as gRPC frames them, and
    small enough for one frame of any server. Raises: ConnectionError when the server ends a connection or a stream.
    """
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        streams: list[_Stream] = []
        for start in range(0, len(messages), _AT_ONCE):
            for first, following in messages[start : start + _AT_ONCE]:
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                streams.append(_Stream(connection, first, following))
                selector.register(connection, selectors.EVENT_READ, streams[-1])
            while not all(stream.answered for stream in streams[start:]):
                _turn(selector, 0.01)
        for stream in streams:
            stream.go(under_way)
        _turn(selector, 1.0)
        started_s = time.perf_counter()
        latencies_s = _turn(selector, seconds)
        took_s = time.perf_counter() - started_s
    cuts = statistics.quantiles(latencies_s, n=100)
    return Measurement(len(latencies_s) / took_s, cuts[49] * 1000, cuts[98] * 1000, 0)


def _turn(selector: selectors.BaseSelector, seconds: float) -> list[float]:
    """Answer every answer with the next message for that long; return how long each answer took, in seconds."""
    latencies_s: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        for key, _ in selector.select(1.0):
            latencies_s += key.data.receive()
    return latencies_s


class _Stream:
    """One gRPC stream on a connection of its own."""

    def __init__(self, connection: socket.socket, first: bytes, following: bytes) -> None:
        self._connection = connection
        self._ping = frame(DATA, 0, 1, following)
        self._answer = b""
        self.answered = False
        self._pings = 0
        self._rest = b""
        connection.sendall(opening(_PATH) + frame(DATA, 0, 1, first))
        self._sent_s: deque[float] = deque()

    def go(self, under_way: int) -> None:
        """Send so many messages, and from now on another one for every answer."""
        self._connection.sendall(self._ping * under_way)
        self._sent_s.extend([time.perf_counter()] * under_way)

    def receive(self) -> list[float]:
        """Take what came and answer it; return the latency of the answer that is now whole, if one is."""
        received = self._connection.recv(_RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the server closed the connection")
        data = self._rest + received
        latencies_s: list[float] = []
        position, size = 0, len(data)
        while size - position >= HEADER.size:
            length_and_kind, flags, _ = HEADER.unpack_from(data, position)
            end = position + HEADER.size + (length_and_kind >> 8)
            if end > size:
                break
            latencies_s += self._take(length_and_kind & 0xFF, flags, data[position + HEADER.size : end])
            position = end
        self._rest = data[position:]
        if self._pings:
            self._connection.sendall(self._ping * self._pings)
            self._pings = 0
        return latencies_s

    def _take(self, kind: int, flags: int, payload: bytes) -> list[float]:
        if kind == DATA:
            return self._answers(payload)
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in (GOAWAY, RST_STREAM) or (kind == HEADERS and flags & END_STREAM):
            raise ConnectionError(f"the server ended the stream: frame {kind}, {payload[:200]!r}")
        return []

    def _answers(self, payload: bytes) -> list[float]:
        """Return the latencies of the answers that are now whole."""
        latencies_s: list[float] = []
        data, position = self._answer + payload, 0
        while len(data) - position >= PREFIX_BYTES:
            end = position + PREFIX_BYTES + int.from_bytes(data[position + 1 : position + PREFIX_BYTES], "big")
            if end > len(data):
                break
            position = end
            if not self.answered:
                self.answered = True
                continue
            now_s = time.perf_counter()
            latencies_s.append(now_s - self._sent_s.popleft())
            self._sent_s.append(now_s)
            self._pings += 1
        self._answer = data[position:]
        return latencies_s
