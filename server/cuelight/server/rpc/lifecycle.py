"""From start to exit: background tasks that nobody forgets, and the signals that end a server.

    SIGTERM or SIGINT   drain: NOT_SERVING, new calls refused, calls in flight finished, then batchers and engines
    the same again      leave at once, exit code 128 + the signal
    a task died         the same drain, exit code 1: a server that lost a part of itself must not look healthy

Each process has one `BackgroundTasks`; it owns the TaskGroup, and the event loop owns it.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

__all__ = ["STOP_S", "BackgroundTasks", "ExitSignals"]

STOP_S = 5.0
"""For what is left to do once no call is inside; whatever is not done by then is left to the end of the process."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("cuelight.lifecycle")


class BackgroundTasks:
    """The tasks that run beside the calls. One that ends is forgotten; one that raises is a failure of the server."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._holder: asyncio.Task[None] | None = None
        self._told = False

    async def start(self) -> None:
        """Open the group; tasks may be created from now on."""
        self._holder = asyncio.create_task(self._hold(), name="background tasks")
        await self._opened.wait()

    def create(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or `stop` cancels it."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def failure(self) -> BaseException:
        """Return the error of the first task that died; waits for ever while none does."""
        assert self._holder is not None, "failure() before start()"
        try:
            await asyncio.shield(self._holder)
        except BaseExceptionGroup as group:
            self._told = True
            return group.exceptions[0]
        never: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        return await never

    async def stop(self) -> None:
        """Cancel what still runs and return once all of it has ended. A failure that nobody was told of is logged."""
        if self._holder is None:
            return
        self._closing.set()
        await asyncio.wait([self._holder])
        error = self._holder.exception()
        if error is not None and not self._told:
            _log.error("a background task died while the server stopped", exc_info=error)

    async def _hold(self) -> None:
        async with self._group:
            self._opened.set()
            await self._closing.wait()
            for task in list(self._tasks):
                task.cancel()


class ExitSignals:
    """SIGTERM and SIGINT: the first asks for a drain, the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def install(self) -> None:
        """Listen from now on; on the main thread's loop only."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            _log.warning("%s again: leaving at once", number.name)
            # An engine's thread in a long run would hold up every gentler exit.
            os._exit(128 + number)
        _log.info("%s: finishing what is in flight", number.name)
        self.asked.set()
