"""Changes that must not overlap: one task works them off in the order they were asked for.

A change whose caller is gone before its turn is skipped; one that has begun is finished. A change that raises a
CuelightError fails its caller alone; any other error ends the task, and with it the server.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cuelight.server.errors import CuelightError, Overloaded, ShuttingDown

__all__ = ["Change", "ChangeQueue"]

Change = Callable[[], Coroutine[Any, Any, None]]

_MAX_WAITING = 64


class ChangeQueue:
    """Holds the changes that wait. Owned by the event loop; `work` is run as one task."""

    def __init__(self, subject: str, done: Callable[[], None]) -> None:
        """`subject` names in errors what is changed; `done` is called after every change."""
        self._subject = subject
        self._done = done
        self._waiting: asyncio.Queue[tuple[Change, asyncio.Future[None]]] = asyncio.Queue(_MAX_WAITING)
        self._closed = False

    async def run(self, change: Change) -> None:
        """Wait for the change's turn, and return when it is done.

        Raises: Overloaded when 64 changes wait already; ShuttingDown once closed; and what the change raises.
        """
        if self._closed:
            raise self._shutting_down()
        if self._waiting.full():
            raise Overloaded(f"{self._waiting.qsize()} changes to {self._subject} wait already")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((change, future))
        await future

    def close(self) -> None:
        """Take no more changes and fail those that wait."""
        self._closed = True
        while not self._waiting.empty():
            _settle(self._waiting.get_nowait()[1], self._shutting_down())

    async def work(self) -> None:
        """Work changes off until cancelled."""
        while True:
            change, future = await self._waiting.get()
            if future.done():
                continue
            try:
                await change()
            except CuelightError as error:
                _settle(future, error)
            except BaseException:
                # Cancelled, or an error of ours that ends the server: either way nobody is left hanging.
                _settle(future, self._shutting_down())
                self.close()
                raise
            self._done()
            _settle(future)

    def _shutting_down(self) -> ShuttingDown:
        return ShuttingDown(f"the server is shutting down; {self._subject} does not change any more")


def _settle(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
