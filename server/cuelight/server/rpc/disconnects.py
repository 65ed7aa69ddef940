"""Noticing that a caller has left while its handler waits.

pyvoy answers `receive()` at once when the request has been read to its end, whether or not the caller is still there,
and only says `http.disconnect` when it is not. So a call whose handler is suspended is asked about now and then: first
after 10 to 20 ms, then at intervals that double up to 640 ms. A departure is thus noticed by the time the call has
about tripled its age, and a call that never suspends, or only for a batch, is never asked about.

Calls sit in rows by how often they have been asked about. Each row has two generations: at every tick of the row, the
older one is asked and moves on to the next row. Entering and leaving is one dictionary operation.
"""

import asyncio

from cuelight.server.rpc.asgi_call import AsgiCall

__all__ = ["DisconnectWatch"]

_FIRST_INTERVAL_S = 0.01
_ROWS = 7


class DisconnectWatch:
    """The calls whose handlers are suspended. Owned by the event loop that serves them."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        for index in reversed(range(_ROWS)):
            follower = self._rows[0] if self._rows else None
            self._rows.insert(0, _Row(_FIRST_INTERVAL_S * 2**index, follower))

    def add(self, call: AsgiCall) -> None:
        """Start to watch a call."""
        self._rows[0].add(call)

    def remove(self, call: AsgiCall) -> None:
        """Stop to watch a call."""
        call.watched_in.pop(call, None)


class _Row:
    __slots__ = ("_follower", "_fresh", "_interval_s", "_old", "_timer")

    def __init__(self, interval_s: float, follower: "_Row | None") -> None:
        self._interval_s = interval_s
        self._follower = follower
        self._fresh: dict[AsgiCall, None] = {}
        self._old: dict[AsgiCall, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: AsgiCall) -> None:
        self._fresh[call] = None
        call.watched_in = self._fresh
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        due, self._old, self._fresh = self._old, self._fresh, {}
        follower = self._follower or self
        self._timer = None
        for call in due:
            follower.add(call)
            call.probe()
        if self._timer is None and (self._old or self._fresh):
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)
