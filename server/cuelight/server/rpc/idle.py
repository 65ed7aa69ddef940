"""The end of a stream whose caller sends nothing: one timer a call, that looks again when it may be time.

Not a timer a message: of streams of many small messages it would be half of the cost.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cuelight.server.errors import SequenceNotActive

__all__ = ["IdleTimer"]


class IdleTimer:
    """Cancels the task that waits too long for a message; `over` then says so. Owned by that task.

    The task sets `since_s` to `loop.time()` where it begins to wait for a message, and to None where it has one.
    """

    __slots__ = ("_loop", "_max_idle_s", "_reader", "_timer", "over", "since_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, max_idle_s: float, reader: "asyncio.Task[None] | None") -> None:
        self._loop = loop
        self._max_idle_s = max_idle_s
        self._reader = reader
        self.since_s: float | None = None
        """Since when the reader waits for a message; None while it does something else."""
        self.over = False
        self._timer = loop.call_later(max_idle_s, self._look)

    @contextmanager
    def ending(self, said: Callable[[], str], is_leaving: Callable[[], bool]) -> Iterator[None]:
        """Make the timer's own cancellation of what is within an error that says why, and look no more after it.

        Where the server `is_leaving` the cancellation stands. Raises: SequenceNotActive with what `said` returns.
        """
        try:
            yield
        except asyncio.CancelledError:
            if not self.over or is_leaving() or self._reader is None:
                raise
            self._reader.uncancel()
            raise SequenceNotActive(said()) from None
        finally:
            self._timer.cancel()

    def _look(self) -> None:
        waited_s = 0.0 if self.since_s is None else self._loop.time() - self.since_s
        if waited_s >= self._max_idle_s and self._reader is not None:
            self.over = True
            self._reader.cancel()
            return
        self._timer = self._loop.call_later(self._max_idle_s - waited_s, self._look)
