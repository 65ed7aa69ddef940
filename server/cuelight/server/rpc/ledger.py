"""The ledger of calls: who may come in, how many are inside, and how each one ended.

Both fronts open an entry before they run a handler and close it afterwards. The ledger refuses calls while the server
drains and beyond the limit of calls in flight, and it is where metrics read their figures. Plain integers, owned by the
event loop: a call costs well under a microsecond here, which no metrics library offers.
"""

import asyncio
from bisect import bisect_left
from time import perf_counter

from cuelight.server.errors import Overloaded, ShuttingDown
from cuelight.server.rpc.status import StatusCode

__all__ = ["LATENCY_BOUNDS_S", "CallLedger", "MethodLedger"]

LATENCY_BOUNDS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Upper bounds of the latency histogram's buckets, in seconds; one more bucket holds everything above."""

_RETRY_AFTER_S = 0.1


class MethodLedger:
    """The figures of one method since the process started. Bytes are of messages, decompressed, without framing."""

    __slots__ = (
        "ended",
        "in_flight",
        "latency_counts",
        "path",
        "received_bytes",
        "received_messages",
        "seconds_sum",
        "sent_bytes",
        "sent_messages",
        "while_draining",
    )

    def __init__(self, path: str, while_draining: bool) -> None:
        self.path = path
        self.while_draining = while_draining
        self.in_flight = 0
        self.ended = [0] * len(StatusCode)
        self.seconds_sum = 0.0
        self.received_messages = 0
        self.received_bytes = 0
        self.sent_messages = 0
        self.sent_bytes = 0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)

    def count(self, received: bytes, sent: bytes) -> None:
        """Count one message each way."""
        self.received_messages += 1
        self.received_bytes += len(received)
        self.sent_messages += 1
        self.sent_bytes += len(sent)


class CallLedger:
    """Every call in flight and the figures of those that ended. Owned by the event loop."""

    def __init__(self, max_in_flight: int) -> None:
        self.methods: dict[str, MethodLedger] = {}
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.draining = False
        self._empty = asyncio.Event()

    def register(self, path: str, while_draining: bool) -> MethodLedger:
        """Return the entry of a method, made on first use."""
        return self.methods.setdefault(path, MethodLedger(path, while_draining))

    def open(self, method: MethodLedger) -> float:
        """Let a call in and return its start time, in seconds of `time.perf_counter`.

        Raises: ShuttingDown while draining; Overloaded when `max_in_flight` calls are inside. Methods that answer
        while draining (health, reflection) are exempt from both, and from the count.
        """
        if not method.while_draining:
            if self.draining:
                raise ShuttingDown("the server is shutting down; call another one")
            if self.in_flight >= self.max_in_flight:
                raise Overloaded(
                    f"{self.in_flight} calls are in flight, the limit is {self.max_in_flight}", _RETRY_AFTER_S
                )
            self.in_flight += 1
        method.in_flight += 1
        return perf_counter()

    def close(self, method: MethodLedger, started_s: float, code: int) -> None:
        """Let a call out that `open` let in."""
        seconds = perf_counter() - started_s
        method.in_flight -= 1
        method.ended[code] += 1
        method.seconds_sum += seconds
        method.latency_counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        if not method.while_draining:
            self.in_flight -= 1
            if self.draining and self.in_flight == 0:
                self._empty.set()

    def refuse(self, method: MethodLedger, code: int) -> None:
        """Count a call that `open` did not let in."""
        method.ended[code] += 1

    async def drain(self) -> None:
        """Refuse new calls and return once those in flight have ended."""
        self.draining = True
        if self.in_flight:
            await self._empty.wait()
