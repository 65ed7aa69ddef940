"""The load generator for calls that differ from one another: so many at a time, on one thread, over any wire.

A `Flow` is one kind of call. Several flows run together, so that one can be watched while another one weighs on the
server. A flow without a pace begins a call as soon as one has ended; a flow with a pace begins them by the clock, and
what the clock owes counts as waiting: a server that pauses cannot hide it. Calls count that end after the warm-up.
"""

import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import psutil

__all__ = ["Flow", "Sampled", "Wire", "percentiles_ms", "run_flows"]

WARM_S = 1.0
_STEP_S = 0.1
_RECEIVE_BYTES = 1 << 18
_END_LIMIT_S = 30.0
_LEAST_CALLS = 20
_LONGER_S = 5.0
"""So much longer at most for a flow that has got less than the least number of calls."""


class Wire(Protocol):
    """One connection's protocol: `call` begins a call and returns its number, `receive` returns those that ended."""

    outgoing: list[bytes]

    def call(self, messages: Sequence[bytes]) -> int: ...

    def receive(self, data: bytes) -> list[tuple[int, bytes | None]]: ...


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of call: where to, in which protocol, with which bodies (one after the other, for ever), how many.

    `calls` are in flight at once, spread over `connections`. With `per_s` so many begin a second, of which at most
    `calls` are in flight. `kept` takes the body and the answer of each call that ended well.
    """

    address: tuple[str, int]
    wire: Callable[[], Wire]
    bodies: Iterator[Sequence[bytes]]
    calls: int = 1
    connections: int = 1
    per_s: float | None = None
    kept: Callable[[Sequence[bytes], bytes], None] | None = None


@dataclass(slots=True)
class Sampled:
    """What a flow got: how long each call took, in seconds; how many ended badly; over which time.

    CPU shares are of one core: of this process, and of everybody on the machine.
    """

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    took_s: float = 0.0
    client_cores: float = 0.0
    all_cores: float = 0.0

    @property
    def per_s(self) -> float:
        """Calls a second."""
        return len(self.latencies_s) / self.took_s


def run_flows(flows: Sequence[Flow], seconds: float, warm_s: float = WARM_S) -> list[Sampled]:
    """Keep all flows going for `seconds` after a warm-up; return what each got by then. The rest is awaited, uncounted.

    Where a flow is so slow that it has got fewer than 20 calls, all go on for up to 5 seconds more. Calls that have not
    ended half a minute later have failed. Raises: ConnectionError when a server leaves.
    """
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        going = [_Going(flow, selector, stack) for flow in flows]
        _turn(selector, going, time.perf_counter() + warm_s)
        started_s, own_s, all_s = time.perf_counter(), time.process_time(), _all_cpu_s()
        for one in going:
            one.count()
        _turn(selector, going, started_s + seconds)
        while time.perf_counter() < started_s + seconds + _LONGER_S and not all(one.has_enough for one in going):
            _turn(selector, going, time.perf_counter() + _STEP_S)
        ended_s = time.perf_counter()
        took_s = ended_s - started_s
        own_cores, all_cores = (time.process_time() - own_s) / took_s, (_all_cpu_s() - all_s) / took_s
        for one in going:
            one.sampled.took_s, one.sampled.client_cores, one.sampled.all_cores = took_s, own_cores, all_cores
            one.end()
        while any(one.in_flight for one in going) and time.perf_counter() < ended_s + _END_LIMIT_S:
            _receive(selector, 0.1)
            for one in going:
                one.send()
        for one in going:
            one.sampled.failed += one.in_flight
    return [one.sampled for one in going]


def percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the longest, in milliseconds; NaN for fewer than two."""
    cuts = statistics.quantiles(latencies_s, n=100, method="inclusive") if len(latencies_s) > 1 else [float("nan")] * 99
    longest = max(latencies_s, default=float("nan"))
    return {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000, "longest_ms": longest * 1000}


def _turn(selector: selectors.BaseSelector, going: "Sequence[_Going]", end_s: float) -> None:
    while (now_s := time.perf_counter()) < end_s:
        due_s = min((one.begin(now_s) for one in going), default=end_s)
        for one in going:
            one.send()
        _receive(selector, max(0.0, min(due_s, end_s) - time.perf_counter()))


def _receive(selector: selectors.BaseSelector, timeout_s: float) -> None:
    for key, _ in selector.select(timeout_s):
        key.data.receive()


def _all_cpu_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


class _Going:
    """A flow that goes on: its connections, which calls are under way, and what is counted."""

    def __init__(self, flow: Flow, selector: selectors.BaseSelector, stack: ExitStack) -> None:
        self.flow = flow
        self.sampled = Sampled()
        self.in_flight = 0
        self._counts = self._ended = False
        self._next_due_s = time.perf_counter()
        self._most_each = -(-flow.calls // flow.connections)
        self._connections = [_Connection(self, flow, selector, stack) for _ in range(flow.connections)]

    @property
    def has_enough(self) -> bool:
        """Whether it has got the least number of calls."""
        return len(self.sampled.latencies_s) + self.sampled.failed >= _LEAST_CALLS

    def count(self) -> None:
        """Count the calls that end from now on."""
        self._counts = True

    def end(self) -> None:
        """Begin no more calls, and count no more."""
        self._counts, self._ended = False, True

    def begin(self, now_s: float) -> float:
        """Begin what is due; return when the next call is, infinity where that hangs on an answer."""
        while self.in_flight < self.flow.calls and not self._ended:
            if self.flow.per_s is None:
                due_s = now_s
            else:
                due_s = self._next_due_s
                if due_s > now_s:
                    return due_s
                self._next_due_s = due_s + 1 / self.flow.per_s
            connection = min(self._connections, key=_under_way)
            if len(connection.under_way) >= self._most_each:
                break
            self.in_flight += 1
            connection.begin(next(self.flow.bodies), due_s)
        return float("inf")

    def send(self) -> None:
        """Send what calls and answers have left to send, all of a connection together."""
        for connection in self._connections:
            connection.send()

    def ended(self, begun_s: float, body: Sequence[bytes], answer: bytes | None) -> None:
        """Count a call that has ended."""
        self.in_flight -= 1
        if self._counts and answer is None:
            self.sampled.failed += 1
        elif self._counts:
            self.sampled.latencies_s.append(time.perf_counter() - begun_s)
        if answer is not None and self.flow.kept is not None:
            self.flow.kept(body, answer)


class _Connection:
    """One connection of a flow."""

    def __init__(self, going: _Going, flow: Flow, selector: selectors.BaseSelector, stack: ExitStack) -> None:
        self._going = going
        self._wire = flow.wire()
        self.under_way: dict[int, tuple[float, Sequence[bytes]]] = {}
        self._socket = stack.enter_context(socket.create_connection(flow.address))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(self._socket, selectors.EVENT_READ, self)

    def begin(self, body: Sequence[bytes], begun_s: float) -> None:
        """Begin a call."""
        self.under_way[self._wire.call(body)] = (begun_s, body)

    def receive(self) -> None:
        """Take what came."""
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        for number, answer in self._wire.receive(data):
            begun_s, body = self.under_way.pop(number)
            self._going.ended(begun_s, body, answer)

    def send(self) -> None:
        """Send what is left to send."""
        if self._wire.outgoing:
            self._socket.sendall(b"".join(self._wire.outgoing))
            self._wire.outgoing.clear()


def _under_way(connection: _Connection) -> int:
    return len(connection.under_way)
